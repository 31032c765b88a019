"""TIFF: `reader` decodes a page, `directories` holds its tags, `rewritten` leads libvips to rare samples."""
