"""GPU check: proves the CUDA kernels on a GPU, by ``python -m benchmarks.gpu_check``.

__main__.py runs the plan (plan.py) step by step (steps.py). Steps are modules: build, truth,
timings, nsight, properties (and runtime) and sanitize (which runs exercise), or pytest with
suite_plugin.py. What they find they print as figures (figures.py), of which summary.py makes a
table. With --rehearse they run on a CPU (device.py, rehearsal.py).

__main__, plan, steps, summary, build and what they import do without the library, which is not
built yet when they start.
"""
