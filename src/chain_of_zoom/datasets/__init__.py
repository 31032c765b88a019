"""Sets of pictures to measure on or to learn from."""
