"""Scoring: error rates, result files, significance, and the tables that people read.

Nothing here loads torch or ESPnet; importing this package loads nothing at all.
"""
