"""Benchmark harness: the grid, its measurements, and their tables and plots."""
