"""Folders that one process works in and that can be resumed."""
