"""Judges the system: synthesises the rows of the tables, scores them, and puts an interval on every number."""
