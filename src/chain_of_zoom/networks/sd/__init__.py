"""Stable Diffusion as a restorer: whole pictures, adapters, shared norms."""
