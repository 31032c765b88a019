"""Enlarge whole pictures.

A request and a photo become a job (`job.py`) with steps of tiles (`plan.py`). Every step fills a canvas on disk
(`steps.py`, `canvas.py`), of which the last is written as a stream (`writers.py`). `run.py` leads through all of it.
"""
