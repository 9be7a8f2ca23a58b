"""minidl: a deep-learning framework to be read, on NumPy with kernels compiled by Numba."""

__version__ = "0.1.0"
