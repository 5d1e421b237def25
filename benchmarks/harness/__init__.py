"""The benchmark itself: what is measured, how, and how it is reported."""
