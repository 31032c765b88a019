"""Comparison of prompters on held-out pairs: rewards, statistics, and duels before a critic."""
