"""Functions on tensors: a signature, a line of documentation, and the ops that do the work."""

from minidl.functional.creation import tensor
from minidl.functional.elementwise import exp, log, masked, sqrt, tanh
from minidl.functional.index import add_flat, copy_, take_flat
from minidl.functional.reduce import sum
from minidl.functional.shape import expand, reshape, swapaxes

__all__ = [
    "add_flat", "copy_", "exp", "expand", "log", "masked", "reshape", "sqrt", "sum", "swapaxes",
    "take_flat", "tanh", "tensor",
]  # fmt: skip
