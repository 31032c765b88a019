"""How far a zoom can be trusted: the real detail of a photo, and the expected error of what a model made."""
