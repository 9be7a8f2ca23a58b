"""Exponentials, logarithms, circular and hyperbolic functions, and the error function."""

from typing import Any

import numpy as np

from minidl._apply import apply, apply1, apply2, cast
from minidl._tensor import Tensor, method
from minidl.dtypes import get_default_dtype
from minidl.functional._common import common_dtype
from minidl.ops import activation, choice
from minidl.ops import elementwise as ops
from minidl.ops import transcendental as more
from minidl.ops import trigonometry as angles

__all__ = [
    "acos", "acosh", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh",
    "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh", "erf", "erfc", "erfinv", "exp",
    "exp2", "expm1", "hypot", "log", "log1p", "log2", "log10", "logaddexp", "logaddexp2", "logit",
    "sigmoid", "sin", "sinc", "sinh", "tan", "tanh", "xlogy",
]  # fmt: skip


def _one_op(name: str, op: Any, line: str) -> Any:
    def function(input: Tensor) -> Tensor:
        try:  # costs nothing where nothing is wrong
            return apply1(op, input)
        except AttributeError:
            if isinstance(input, Tensor):
                raise
            raise TypeError(
                f"{name}: a Tensor is needed, got {type(input).__name__}; use minidl.tensor(...)"
            ) from None

    function.__name__ = function.__qualname__ = name
    function.__doc__ = line
    return method(function)


exp = _one_op("exp", ops.Exp, "e^x.")
exp2 = _one_op("exp2", more.Exp2, "2^x.")
expm1 = _one_op("expm1", more.Expm1, "e^x - 1, exact near 0.")
log = _one_op("log", ops.Log, "Natural logarithm.")
log1p = _one_op("log1p", more.Log1p, "log(1 + x), exact near 0.")
log2 = _one_op("log2", more.Log2, "Logarithm to base 2.")
log10 = _one_op("log10", more.Log10, "Logarithm to base 10.")
sin = _one_op("sin", angles.Sin, "Sine of radians.")
cos = _one_op("cos", angles.Cos, "Cosine of radians.")
tan = _one_op("tan", angles.Tan, "Tangent of radians.")
asin = _one_op("asin", angles.Asin, "Arc sine, in radians.")
acos = _one_op("acos", angles.Acos, "Arc cosine, in radians.")
atan = _one_op("atan", angles.Atan, "Arc tangent, in radians.")
sinh = _one_op("sinh", angles.Sinh, "Hyperbolic sine.")
cosh = _one_op("cosh", angles.Cosh, "Hyperbolic cosine.")
tanh = _one_op("tanh", ops.Tanh, "Hyperbolic tangent.")
asinh = _one_op("asinh", angles.Asinh, "Inverse hyperbolic sine.")
acosh = _one_op("acosh", angles.Acosh, "Inverse hyperbolic cosine.")
atanh = _one_op("atanh", angles.Atanh, "Inverse hyperbolic tangent.")
sigmoid = _one_op("sigmoid", activation.Sigmoid, "1 / (1 + e^-x).")
erf = _one_op("erf", more.Erf, "Error function.")
erfc = _one_op("erfc", more.Erfc, "1 - erf(x), exact in the far tail.")
erfinv = _one_op("erfinv", more.Erfinv, "The number whose error function is x.")

arccos, arccosh, arcsin, arcsinh, arctan, arctanh = acos, acosh, asin, asinh, atan, atanh


@method
def atan2(input: Any, other: Any) -> Tensor:
    """The angle of the points (other, input), in (-pi, pi]."""
    return apply2(angles.Atan2, *common_dtype(input, other))


arctan2 = atan2
for _alias in ("arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh"):
    setattr(Tensor, _alias, globals()[_alias])


@method
def hypot(input: Any, other: Any) -> Tensor:
    """sqrt(input^2 + other^2), without overflow of the squares."""
    return apply2(angles.Hypot, *common_dtype(input, other))


@method
def logaddexp(input: Any, other: Any) -> Tensor:
    """log(e^input + e^other), without overflow."""
    return apply(more.LogAddExp, *_floats(input, other), binary=False)


@method
def logaddexp2(input: Any, other: Any) -> Tensor:
    """log2(2^input + 2^other), without overflow."""
    return apply(more.LogAddExp, *_floats(input, other), binary=True)


@method
def xlogy(input: Any, other: Any) -> Tensor:
    """input * log(other), and 0 where input is 0, even at other = 0."""
    return apply2(more.XLogY, *common_dtype(input, other))


@method
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)); with eps, x is first limited to [eps, 1 - eps]."""
    if eps is not None:
        (input,) = _floats(input)
        input = apply(choice.Clamp, input, low=eps, high=1 - eps, closed=True)
    return apply1(activation.Logit, input)


@method
def sinc(input: Tensor) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0."""
    (x,) = _floats(input)
    zero = np.abs(x.array) < np.finfo(x.dtype).tiny ** 0.5  # 1 / x^2 would overflow
    angle = apply(choice.Where, zero, x.dtype.type(1), x) * float(np.pi)
    return apply(choice.Where, zero, x.dtype.type(1), sin(angle) / angle)


def _floats(*operands: Any) -> list[Tensor]:
    tensors = common_dtype(*operands)
    if tensors[0].dtype.kind == "f":
        return tensors
    return [cast(t, get_default_dtype()) for t in tensors]
