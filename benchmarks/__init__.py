"""Speed and memory, measured: ``pytest benchmarks/`` and ``python -m benchmarks.<name>``."""
