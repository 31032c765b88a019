"""Measuring zooms: metrics, consistency with the source, protocols and reports."""
