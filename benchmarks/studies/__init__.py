"""Studies: measurements of one thing each, outside the grid."""
