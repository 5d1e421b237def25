"""Speed and memory benchmarks: ``pytest benchmarks/`` and ``python -m benchmarks.<name>``."""
