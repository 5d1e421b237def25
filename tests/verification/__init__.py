"""Static verification of the compiled kernels: races ruled out in PTX, without a GPU.

cases: the launches to verify, as the library itself makes them · ptx: kernels, compiled and parsed
· dataflow: where a kernel's values come from · specialize, counters: PTX as the verifier
understands it · verifier: one proof · paths: the proofs of a launch, one for each way through its
branches · barriers: each barrier taken away · results: what is stored and shown · __main__: the
table of them all · equality, straighten: kernels proved equal to PyTorch · warpgroups: the pairing
rules of wgmma. See docs/verification.md.
"""
