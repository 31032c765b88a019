"""Weight files: which there are, where they lie, what their headers say, and reading them without running them."""
