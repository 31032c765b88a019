"""Preference alignment of the prompt extractor: pairs to learn from, rewards, training, comparison (paper, 3.3)."""
