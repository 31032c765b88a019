"""Rewards of texts: what training strengthens, and the critic that rates."""
