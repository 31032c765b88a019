"""Torch building blocks: weights, adapters, the parts of the published stack. Needs the extra [diffusion]."""
