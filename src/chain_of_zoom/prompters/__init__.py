"""Prompt extractors: what guides a text-aware backbone at each step."""
