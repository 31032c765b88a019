"""Fine texture of a named material, laid over what a network enlarged: invented, and kept out of what was measured."""
