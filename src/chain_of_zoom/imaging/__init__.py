"""Pixels and boxes: numpy and Pillow only, nothing of the rooms above."""
