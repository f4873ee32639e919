"""Recording what neurons do while a model runs: sums, rates and maps of spikes."""
