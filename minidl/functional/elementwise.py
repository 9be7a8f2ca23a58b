"""Functions of each element."""

from minidl._tensor import Tensor, apply, apply1, cast, method
from minidl.ops import elementwise as ops
from minidl.typing import Array

__all__ = ["astype", "exp", "log", "masked", "sqrt", "tanh"]


@method
def exp(input: Tensor) -> Tensor:
    """e^x."""
    return apply1(ops.Exp, input)


@method
def log(input: Tensor) -> Tensor:
    """Natural logarithm."""
    return apply1(ops.Log, input)


@method
def sqrt(input: Tensor) -> Tensor:
    """Square root."""
    return apply1(ops.Sqrt, input)


@method
def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return apply1(ops.Tanh, input)


@method
def masked(input: Tensor, keep: Array) -> Tensor:
    """x where the constant mask `keep` is true, 0 elsewhere."""
    return apply(ops.Masked, input, keep)


@method
def astype(input: Tensor, dtype) -> Tensor:
    """The same values in another dtype."""
    return cast(input, dtype)
