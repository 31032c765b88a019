"""Super-resolution backbones, one family per file, behind the contract of `base`."""
