"""A run as an animation: one smooth zoom through all its states."""
