"""Vision-language models and their adapters."""
