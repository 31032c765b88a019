"""One alignment from settings to an adapter with its card and its report."""
