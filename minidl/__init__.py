"""minidl: a deep-learning framework to be read, on NumPy with kernels compiled by Numba."""

from minidl._tensor import Tensor
from minidl.autograd import grad, no_grad
from minidl.functional import *  # noqa: F403

__version__ = "0.1.0"
__all__ = ["Tensor", "grad", "no_grad"]
