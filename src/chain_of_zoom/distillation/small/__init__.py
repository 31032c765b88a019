"""Training of the small network (SPAN's shape) in the chain's own loop: true rather than sharp, on a CPU if need be."""
