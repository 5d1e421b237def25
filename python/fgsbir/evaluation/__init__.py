"""Evaluation: ranking a split, its scores, and tables and figures of them."""
