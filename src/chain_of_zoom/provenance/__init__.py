"""Content Credentials (C2PA): signed copies of files, which say what the label inside them says, and prove it."""
