"""Training of the super-resolution backbone: pictures, their degradation, losses."""
