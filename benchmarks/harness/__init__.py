"""Benchmark harness: the grid, its measurements, targets and plots."""
