"""Functions of each element: powers, trigonometry, rounding, limits, comparisons."""

from typing import Any

import numpy as np

from minidl._tensor import Tensor, apply, apply1, cast, method
from minidl.dtypes import get_default_dtype
from minidl.functional._common import as_tensor, common_dtype
from minidl.ops import elementwise as ops
from minidl.ops import transcendental as more
from minidl.typing import Array

__all__ = [
    "abs", "acos", "acosh", "add", "addcdiv", "addcmul", "asin", "asinh", "astype", "atan",
    "atanh", "ceil", "clamp", "clamp_max", "clamp_min", "cos", "cosh", "div", "eq", "exp", "exp2",
    "expm1", "floor", "ge", "gt", "isfinite", "isinf", "isnan", "le", "lerp", "log", "log1p",
    "log2", "log10", "logical_and", "logical_not", "logical_or", "lt", "masked", "masked_fill",
    "maximum", "minimum", "mul", "ne", "neg", "pow", "reciprocal", "round", "rsqrt", "sigmoid",
    "sign", "sin", "sinh", "softplus_plain", "sqrt", "square", "sub", "tan", "tanh", "true_divide",
    "trunc", "where", "xlogy",
]  # fmt: skip


@method
def add(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """input + alpha * other."""
    return input + (other if alpha == 1 else other * alpha)


@method
def sub(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """input - alpha * other."""
    return input - (other if alpha == 1 else other * alpha)


@method
def mul(input: Tensor, other: Any) -> Tensor:
    """input * other."""
    return input * other


@method
def div(input: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other; rounding_mode "trunc" or "floor" rounds the quotient, without a gradient."""
    if rounding_mode is None:
        return input / other
    if rounding_mode not in ("trunc", "floor"):
        raise ValueError(f"div: rounding_mode {rounding_mode!r} must be None, 'trunc' or 'floor'")
    x, y = common_dtype(input, other)
    with np.errstate(all="ignore"):
        if rounding_mode == "floor":
            value = np.floor_divide(x.array, y.array)
        else:
            value = np.trunc(x.array / y.array).astype(x.dtype)
    return _flat(x + y, value)


true_divide = div


@method
def neg(input: Tensor) -> Tensor:
    """-x."""
    return -input


@method
def exp(input: Tensor) -> Tensor:
    """e^x."""
    return apply1(ops.Exp, input)


@method
def exp2(input: Tensor) -> Tensor:
    """2^x."""
    return apply1(ops.Exp, input * float(np.log(2.0)))


@method
def expm1(input: Tensor) -> Tensor:
    """e^x - 1, exact near 0."""
    return apply1(more.Expm1, input)


@method
def log(input: Tensor) -> Tensor:
    """Natural logarithm."""
    return apply1(ops.Log, input)


@method
def log1p(input: Tensor) -> Tensor:
    """log(1 + x), exact near 0."""
    return apply1(more.Log1p, input)


@method
def log2(input: Tensor) -> Tensor:
    """Logarithm to base 2."""
    return log(input) / float(np.log(2.0))


@method
def log10(input: Tensor) -> Tensor:
    """Logarithm to base 10."""
    return log(input) / float(np.log(10.0))


@method
def sqrt(input: Tensor) -> Tensor:
    """Square root."""
    return apply1(ops.Sqrt, input)


@method
def rsqrt(input: Tensor) -> Tensor:
    """1 / sqrt(x)."""
    return 1.0 / apply1(ops.Sqrt, input)


@method
def square(input: Tensor) -> Tensor:
    """x^2."""
    return input * input


@method
def reciprocal(input: Tensor) -> Tensor:
    """1 / x."""
    return 1.0 / input


@method
def pow(input: Any, exponent: Any) -> Tensor:
    """input^exponent; either may be a number."""
    if isinstance(input, Tensor) and isinstance(exponent, Tensor):
        x, y = common_dtype(input, exponent)
        return apply(more.Pow, x, y)
    if isinstance(input, Tensor):
        if isinstance(exponent, float) and input.dtype.kind != "f":
            input = cast(input, get_default_dtype())
        return apply(more.Pow, input, exponent)
    if isinstance(input, float) and exponent.dtype.kind != "f":
        exponent = cast(exponent, get_default_dtype())
    return apply(more.Pow, input, exponent)


def _one_op(name: str, op: Any, line: str) -> Any:
    def function(input: Tensor) -> Tensor:
        return apply1(op, input)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = line
    return method(function)


sin = _one_op("sin", more.Sin, "Sine of radians.")
cos = _one_op("cos", more.Cos, "Cosine of radians.")
tan = _one_op("tan", more.Tan, "Tangent of radians.")
asin = _one_op("asin", more.Asin, "Arc sine, in radians.")
acos = _one_op("acos", more.Acos, "Arc cosine, in radians.")
atan = _one_op("atan", more.Atan, "Arc tangent, in radians.")
sinh = _one_op("sinh", more.Sinh, "Hyperbolic sine.")
cosh = _one_op("cosh", more.Cosh, "Hyperbolic cosine.")
asinh = _one_op("asinh", more.Asinh, "Inverse hyperbolic sine.")
acosh = _one_op("acosh", more.Acosh, "Inverse hyperbolic cosine.")
atanh = _one_op("atanh", more.Atanh, "Inverse hyperbolic tangent.")
tanh = _one_op("tanh", ops.Tanh, "Hyperbolic tangent.")
sigmoid = _one_op("sigmoid", more.Sigmoid, "1 / (1 + e^-x).")
abs = _one_op("abs", more.Abs, "|x|; the derivative at 0 is 0.")
softplus_plain = _one_op("softplus_plain", more.Softplus, "log(1 + e^x), without overflow.")


def _flat(x: Tensor, value: Array) -> Tensor:
    """A step function of x: its derivative is 0 wherever it exists."""
    if x.dtype.kind != "f":
        return Tensor(np.asarray(value))
    value = np.asarray(value, x.dtype)
    return apply(more.Scaled, x, value, np.zeros_like(value))


@method
def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1."""
    return _flat(input, np.sign(input.array))


@method
def floor(input: Tensor) -> Tensor:
    """The largest whole number not above x."""
    return _flat(input, np.floor(input.array))


@method
def ceil(input: Tensor) -> Tensor:
    """The smallest whole number not below x."""
    return _flat(input, np.ceil(input.array))


@method
def trunc(input: Tensor) -> Tensor:
    """x without its fraction."""
    return _flat(input, np.trunc(input.array))


@method
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest number with that many decimals; halves go to the even one."""
    return _flat(input, np.round(input.array, decimals))


@method
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """x limited to [min, max], numbers or tensors; the derivative is 1 at the limits, 0 beyond."""
    if min is None and max is None:
        raise RuntimeError("clamp: at least one of min and max must be given")
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        out = input if min is None else maximum_of(input, min, 1.0)
        return out if max is None else minimum_of(out, max, 1.0)
    if isinstance(min, float) or isinstance(max, float):
        input = input if input.dtype.kind == "f" else cast(input, get_default_dtype())
    value = np.clip(input.array, min, max).astype(input.dtype)
    if input.dtype.kind != "f":
        return Tensor(value)
    inside = np.ones(input.shape, bool)
    if min is not None:
        inside &= input.array >= min
    if max is not None:
        inside &= input.array <= max
    return apply(more.Scaled, input, value, inside.astype(input.dtype))


@method
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """max(x, min)."""
    return clamp(input, min=min)


@method
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """min(x, max)."""
    return clamp(input, max=max)


def maximum_of(input: Tensor, other: Any, share: float) -> Tensor:
    """The larger; of equal ones the first has `share` of the gradient, the second the rest."""
    x, y = common_dtype(input, other)
    return _chosen(x, y, np.maximum(x.array, y.array), x.array > y.array, share)


def minimum_of(input: Tensor, other: Any, share: float) -> Tensor:
    """The smaller, as `maximum_of`."""
    x, y = common_dtype(input, other)
    return _chosen(x, y, np.minimum(x.array, y.array), x.array < y.array, share)


def _chosen(x: Tensor, y: Tensor, value: Array, first: Array, share: float) -> Tensor:
    if not (x.requires_grad or y.requires_grad):
        return Tensor(np.asarray(value))
    weight = np.where(x.array == y.array, share, first).astype(x.dtype)
    shape = value.shape
    left = apply(more.Scaled, x.expand(shape), value * weight, weight)
    return left + apply(more.Scaled, y.expand(shape), value * (1 - weight), 1 - weight)


@method
def maximum(input: Tensor, other: Any) -> Tensor:
    """The larger of two; equal ones share the gradient."""
    return maximum_of(input, other, 0.5)


@method
def minimum(input: Tensor, other: Any) -> Tensor:
    """The smaller of two; equal ones share the gradient."""
    return minimum_of(input, other, 0.5)


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """input where the condition holds, other elsewhere; alone, the places where it holds."""
    keep = condition.array if isinstance(condition, Tensor) else np.asarray(condition)
    if input is None:
        return tuple(Tensor(places) for places in np.nonzero(keep))
    x, y = common_dtype(input, other)
    return apply(more.Where, keep.astype(bool), x, y)


def _where_method(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    return where(condition, self, other)


Tensor.where = _where_method  # type: ignore[attr-defined]


@method
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """value where the mask is true, x elsewhere."""
    fill = as_tensor(value, input)
    return apply(more.Where, mask.array, cast(fill, input.dtype), input)


@method
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight * (end - input)."""
    return input + weight * (end - input)


@method
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    return input + value * (tensor1 * tensor2)


@method
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    return input + value * (tensor1 / tensor2)


@method
def xlogy(input: Any, other: Any) -> Tensor:
    """x * log(y), and 0 where x is 0, even at y = 0."""
    x, y = common_dtype(input, other)
    if x.dtype.kind != "f":
        x, y = cast(x, get_default_dtype()), cast(y, get_default_dtype())
    shape = np.broadcast_shapes(x.shape, y.shape)
    x, y = x.expand(shape), y.expand(shape)
    skip = (x.array == 0) & ~np.isnan(y.array)
    return x * apply(more.Where, skip, 1.0, y).log()


@method
def masked(input: Tensor, keep: Array) -> Tensor:
    """x where the constant mask `keep` is true, 0 elsewhere."""
    return apply(ops.Masked, input, keep)


@method
def astype(input: Tensor, dtype) -> Tensor:
    """The same values in another dtype."""
    return cast(input, np.dtype(dtype))


def _compared(name: str, ufunc: Any, line: str) -> Any:
    def function(input: Any, other: Any) -> Tensor:
        x = input.array if isinstance(input, Tensor) else input
        y = other.array if isinstance(other, Tensor) else other
        return Tensor(np.asarray(ufunc(x, y)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = line
    setattr(Tensor, f"__{name}__", function)
    return method(function)


eq = _compared("eq", np.equal, "input == other, a bool tensor.")
ne = _compared("ne", np.not_equal, "input != other, a bool tensor.")
lt = _compared("lt", np.less, "input < other, a bool tensor.")
le = _compared("le", np.less_equal, "input <= other, a bool tensor.")
gt = _compared("gt", np.greater, "input > other, a bool tensor.")
ge = _compared("ge", np.greater_equal, "input >= other, a bool tensor.")


@method
def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """Both are not 0."""
    return Tensor(np.asarray(np.logical_and(input.array, other.array)))


@method
def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """One of both is not 0."""
    return Tensor(np.asarray(np.logical_or(input.array, other.array)))


@method
def logical_not(input: Tensor) -> Tensor:
    """x is 0."""
    return Tensor(np.asarray(np.logical_not(input.array)))


@method
def isnan(input: Tensor) -> Tensor:
    """Whether x is NaN."""
    return Tensor(np.asarray(np.isnan(input.array)))


@method
def isinf(input: Tensor) -> Tensor:
    """Whether x is infinite."""
    return Tensor(np.asarray(np.isinf(input.array)))


@method
def isfinite(input: Tensor) -> Tensor:
    """Whether x is neither infinite nor NaN."""
    return Tensor(np.asarray(np.isfinite(input.array)))


def _rpow(self: Tensor, base: Any) -> Tensor:
    return pow(base, self)


Tensor.__pow__ = pow  # type: ignore[operator, method-assign, assignment]
Tensor.__rpow__ = _rpow  # type: ignore[attr-defined]
Tensor.__abs__ = abs  # type: ignore[attr-defined]
