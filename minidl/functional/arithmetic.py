"""Arithmetic on each element: sums and products, powers, quotients, remainders, rounding."""

from typing import Any

import numpy as np

from minidl._apply import apply, apply1, apply2, cast, explained, record
from minidl._tensor import Tensor, method, recorders
from minidl.functional._common import as_tensor, common_dtype
from minidl.ops import choice as more
from minidl.ops import elementwise as ops
from minidl.ops.transcendental import Pow
from minidl.typing import Array

__all__ = [
    "abs", "absolute", "add", "addcdiv", "addcmul", "astype", "ceil", "copysign", "div", "divide",
    "float_power", "floor", "floor_divide", "fmod", "frac", "lerp", "mul", "multiply", "neg",
    "negative", "pow", "reciprocal", "remainder", "round", "rsqrt", "sign", "sqrt", "square", "sub",
    "subtract", "true_divide", "trunc",
]  # fmt: skip


@method
def add(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input + alpha * other."""
    return apply2(ops.Add, input, other if alpha == 1 else other * alpha)


@method
def sub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input - alpha * other."""
    return apply2(ops.Sub, input, other if alpha == 1 else other * alpha)


@method
def mul(input: Any, other: Any) -> Tensor:
    """input * other."""
    return apply2(ops.Mul, input, other)


@method
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other; rounding_mode "trunc" or "floor" rounds the quotient: its derivative is 0."""
    if rounding_mode is None:
        return apply2(ops.Div, input, other)
    if rounding_mode not in ("trunc", "floor"):
        raise ValueError(f"div: rounding_mode {rounding_mode!r} must be None, 'trunc' or 'floor'")
    x, y = common_dtype(input, other)
    _divisor(y, "div")
    try:
        with np.errstate(all="ignore"):
            value = np.floor_divide(x.array, y.array)
            if rounding_mode == "trunc" and x.dtype.kind == "f":
                value = np.trunc(x.array / y.array)
            elif rounding_mode == "trunc":  # floor and trunc differ where the sign does
                value = value + ((value < 0) & (value * y.array != x.array))
    except ValueError as error:
        raise explained(ops.Div, (x, y), error) from None
    out = _level(np.asarray(value, x.dtype), x, y)
    if recorders:
        record(f"div_{rounding_mode}", (x, y), {}, (out,))
    return out


def _divisor(y: Tensor, name: str) -> None:
    if y.dtype.kind == "b":
        raise TypeError(f"{name}: bool tensors have no quotient; use .int() or .float() first")
    if y.dtype.kind != "f" and not y.array.all():
        raise ZeroDivisionError(
            f"{name}: integers cannot be divided by 0; divide floating point, with .float()"
        )


def _level(value: Array, *inputs: Tensor) -> Tensor:
    """A value whose derivative in the inputs is 0 wherever it exists."""
    out = Tensor(value)
    for x in inputs:
        if x.requires_grad:
            out = apply(ops.Masked, x, np.zeros(x.shape, bool)) + out
    return out


@method
def floor_divide(input: Any, other: Any) -> Tensor:
    """The quotient rounded down."""
    return div(input, other, rounding_mode="floor")


@method
def remainder(input: Any, other: Any) -> Tensor:
    """input - other * floor(input / other): its sign is other's, as of Python's %."""
    x, y = common_dtype(input, other)
    _divisor(y, "remainder")
    return apply(more.Modulo, x, y, floor=True)


@method
def fmod(input: Any, other: Any) -> Tensor:
    """input - other * trunc(input / other): its sign is input's, as of C's fmod."""
    x, y = common_dtype(input, other)
    _divisor(y, "fmod")
    return apply(more.Modulo, x, y, floor=False)


@method
def neg(input: Tensor) -> Tensor:
    """-x."""
    return -input


@method
def abs(input: Tensor) -> Tensor:
    """|x|; the derivative at 0 is 0."""
    return apply1(more.Abs, input)


@method
def square(input: Tensor) -> Tensor:
    """x^2."""
    return input * input


@method
def sqrt(input: Tensor) -> Tensor:
    """Square root; NaN below 0."""
    return apply1(ops.Sqrt, input)


@method
def rsqrt(input: Tensor) -> Tensor:
    """1 / sqrt(x)."""
    return 1.0 / apply1(ops.Sqrt, input)


@method
def reciprocal(input: Tensor) -> Tensor:
    """1 / x."""
    return 1.0 / input


@method
def pow(input: Any, exponent: Any) -> Tensor:
    """input^exponent; either may be a number."""
    if isinstance(input, Tensor) and input.dtype.kind == "f" and type(exponent) in (int, float):
        return apply(Pow, input, exponent)
    x, y = common_dtype(input, exponent)
    if x.dtype.kind == "b":
        raise TypeError("pow: bool tensors have no powers; use .int() or .float() first")
    if x.dtype.kind in "iu" and (y.array < 0).any():
        raise ValueError(
            "pow: integers cannot be raised to negative integer powers; use .float() first"
        )
    return apply(Pow, x, y)


@method
def float_power(input: Any, exponent: Any) -> Tensor:
    """input^exponent, computed and returned in float64."""
    x, y = [cast(as_tensor(t), np.dtype("float64")) for t in (input, exponent)]
    return apply(Pow, x, y)


def _step(input: Tensor, name: str, **settings: Any) -> Tensor:
    if input.dtype.kind == "f":
        return apply(more.Step, input, name=name, **settings)
    if name == "sign" and input.dtype.kind != "b":
        return Tensor(np.asarray(np.sign(input.array)))
    return Tensor(input.array.copy())  # whole numbers


@method
def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1."""
    return _step(input, "sign")


@method
def floor(input: Tensor) -> Tensor:
    """The largest whole number not above x."""
    return _step(input, "floor")


@method
def ceil(input: Tensor) -> Tensor:
    """The smallest whole number not below x."""
    return _step(input, "ceil")


@method
def trunc(input: Tensor) -> Tensor:
    """x without its fraction."""
    return _step(input, "trunc")


@method
def frac(input: Tensor) -> Tensor:
    """The fraction of x, with its sign."""
    return input - trunc(input)


@method
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest number with that many decimals; halves go to the even one."""
    if input.dtype.kind != "f" and decimals < 0:
        return Tensor(np.round(input.array, decimals))
    return _step(input, "round", decimals=decimals)


@method
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight * (end - input); exactly `end` at weight 1."""
    gap = end - input
    if isinstance(weight, Tensor):
        near = apply2(ops.Mul, weight, gap) + input
        far = end - gap * (1.0 - weight)
        half = np.broadcast_to(np.abs(weight.array) < 0.5, near.shape)
        return apply(more.Where, half, near, far)
    if -0.5 < weight < 0.5:
        return input + gap * float(weight)
    return end - gap * (1.0 - weight)


@method
def addcmul(input: Tensor, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    product = apply2(ops.Mul, tensor1, tensor2)
    return input + (product if value == 1 else product * value)


@method
def addcdiv(input: Tensor, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    quotient = apply2(ops.Div, tensor1, tensor2)
    return input + (quotient if value == 1 else quotient * value)


@method
def copysign(input: Any, other: Any) -> Tensor:
    """The size of input with the sign of other."""
    x, y = common_dtype(input, other)
    return apply2(more.Copysign, x, y)


@method
def astype(input: Tensor, dtype: Any) -> Tensor:
    """The same values in another dtype."""
    return cast(input, np.dtype(dtype))


absolute, divide, multiply, negative, subtract = abs, div, mul, neg, sub
true_divide = div
for _alias in ("absolute", "divide", "multiply", "negative", "subtract", "true_divide"):
    setattr(Tensor, _alias, globals()[_alias])


def _reflected(function: Any) -> Any:
    return lambda self, other: function(other, self)


for _name, _function in (("pow", pow), ("mod", remainder), ("floordiv", floor_divide)):
    setattr(Tensor, f"__{_name}__", _function)
    setattr(Tensor, f"__r{_name}__", _reflected(_function))
Tensor.__abs__ = abs  # type: ignore[attr-defined]
Tensor.__pos__ = lambda self: self  # type: ignore[operator, attr-defined]
