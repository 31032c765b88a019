"""File formats: which one a file has (`signatures`), its structure (`blocks`), and one decoder per family."""
