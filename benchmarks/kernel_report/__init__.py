"""Registers, shared memory and spills of every kernel, from the compiler."""
