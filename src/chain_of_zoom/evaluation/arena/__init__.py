"""Procedural scenes with exact pixels at any depth: what a zoom invents can be compared with what is there."""
