"""Pages to look at: one self-contained HTML file each, that opens offline from the file system."""
