"""Functions that the tools share: reading configs, building models, running them."""
