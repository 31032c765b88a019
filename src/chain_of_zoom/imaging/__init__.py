"""Pixels and files: how a photo becomes a clean RGB array, and how arrays become files again.

The way of a file: `images.load` asks `decode`, which checks it against the limits in `reading`, tells its kind by the
first bytes (`formats/signatures`) and has a decoder of `formats` read the samples (`raster.Layers`). `colour/claims`
and `colour/profiles` find what the numbers mean. The result is a `raster.Raster` with `metadata`, from which
`images.render` makes 8-bit sRGB: a `Picture`. `encode` writes pixels with the label that says what made them.
Beside that walk stand `geometry` and `tiling` (windows and tiles), `spots` (where to zoom), `sheet` and `fonts`.
"""
