"""Kernel report: registers, shared memory and spills of every CUDA kernel, without a GPU."""
