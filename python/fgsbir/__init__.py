"""Fine-grained sketch-based image retrieval: find the one photo that a sketch shows.

Training, evaluation and retrieval on top of the losses of :mod:`fgsbir_ext`. Start with
``fgsbir quickstart`` on the command line; :mod:`fgsbir.train` and :mod:`fgsbir.evaluate` are the
same from Python. Importing this package loads none of them, so it costs nothing.
"""
