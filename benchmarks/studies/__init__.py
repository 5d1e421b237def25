"""Measurements of one thing each, apart from the grid."""
