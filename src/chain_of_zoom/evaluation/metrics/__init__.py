"""Image quality metrics, one per file, behind the contract of `base`; names are in `table`."""
