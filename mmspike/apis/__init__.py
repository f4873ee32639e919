"""What the tools are made of: reading configs, building models, running them."""
