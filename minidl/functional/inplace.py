"""Changes in place: `x.add_(y)`, `x += y`, `x.zero_()`, and the rest.

One table makes them out of the functions: `name_` writes what `name` gives into the tensor.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl._inplace import (
    before_change,
    changed,
    check_may_change,
    check_writable,
    overwrite,
    will_record,
)
from minidl._tensor import Tensor, method, recorders
from minidl.functional.randomness import normal_array, source, uniform_array

__all__: list[str] = []

# What backward does not need the old values for: these need no copy of them.
_LINEAR = (
    "add", "sub", "neg", "masked_fill", "index_add", "index_copy", "index_fill", "index_put",
    "masked_scatter", "put", "scatter", "scatter_add", "tril", "triu", "addcmul", "addcdiv",
    "floor", "ceil", "round", "trunc", "sign",
)  # fmt: skip
_OTHERS = (
    "mul", "div", "true_divide", "pow", "lerp", "clamp", "clamp_min", "clamp_max", "clip", "abs",
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh", "erf", "erfc", "exp",
    "exp2", "expm1", "fmod", "frac", "hypot", "log", "log10", "log1p", "log2", "logit",
    "nan_to_num", "reciprocal", "relu", "remainder", "rsqrt", "sigmoid", "sin", "sinc", "sinh",
    "sqrt", "square", "tan", "tanh", "xlogy", "cumsum", "cumprod", "multiply", "subtract",
    "divide", "floor_divide", "logical_and", "logical_or", "logical_not", "logical_xor",
    "eq", "ne", "lt", "le", "gt", "ge",
)  # fmt: skip

# Off the tape NumPy writes into the tensor directly.
_UFUNCS: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
    "neg": np.negative, "exp": np.exp, "sqrt": np.sqrt, "tanh": np.tanh,
}  # fmt: skip


def _in_place(name: str, function: Callable[..., Any], linear: bool) -> Callable[..., Any]:
    title, ufunc = f"{name}_", _UFUNCS.get(name)

    def change(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        others = (*args, *kwargs.values())
        recorded = will_record(self, others)
        if recorded:
            check_may_change(self, title)
        elif ufunc is not None and not recorders and not kwargs and _fits(self, args):
            check_writable(self, title)
            with np.errstate(all="ignore"):
                ufunc(self.array, *[getattr(a, "array", a) for a in args], out=self.array)
            changed(self)
            return self
        before = self
        if recorded and not (linear and all(a is not self for a in others)):
            before = before_change(self, others)
            args = tuple([before if a is self else a for a in args])
            kwargs = {k: before if a is self else a for k, a in kwargs.items()}
        return overwrite(self, function(before, *args, **kwargs), title)

    change.__name__ = change.__qualname__ = title
    change.__doc__ = f"`{name}`, written into the tensor itself."
    return change


def _fits(x: Tensor, args: tuple[Any, ...]) -> bool:
    """Whether the result of a ufunc has x's dtype and shape: the case of most changes."""
    array = x.array
    if array.dtype.kind != "f":
        return False
    for a in args:
        if isinstance(a, Tensor):
            other = a.array
            if other.dtype is not array.dtype:
                return False
            if other.shape != array.shape and (
                other.ndim > array.ndim
                or np.broadcast_shapes(other.shape, array.shape) != array.shape
            ):
                return False
        elif type(a) is not float and type(a) is not int:
            return False
    return True


for _names, _is_linear in ((_LINEAR, True), (_OTHERS, False)):
    for _name in _names:
        _function = getattr(Tensor, _name, None)
        if _function is not None:
            method(_in_place(_name, _function, _is_linear))


def _augmented(name: str, change: Callable[..., Any]) -> None:
    def function(self: Tensor, other: Any) -> Tensor:
        out: Tensor = change(self, other)
        return out

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{change.__name__}`."
    setattr(Tensor, name, function)


for _name, _change in (
    ("__iadd__", "add_"), ("__isub__", "sub_"), ("__imul__", "mul_"), ("__itruediv__", "div_"),
    ("__ipow__", "pow_"), ("__ifloordiv__", "floor_divide_"), ("__imod__", "remainder_"),
):  # fmt: skip
    if hasattr(Tensor, _change):
        _augmented(_name, getattr(Tensor, _change))


# filled with numbers


def _set(self: Tensor, value: Any, name: str) -> Tensor:
    """Values that do not depend on the old ones: off the tape, without another array."""
    check_writable(self, name)
    if will_record(self, (value,)):
        new = value if isinstance(value, Tensor) else Tensor(np.asarray(value, self.dtype))
        return overwrite(self, new.expand(self.shape).astype(self.dtype), name)
    self.array[...] = value.array if isinstance(value, Tensor) else value
    changed(self)
    return self


@method
def zero_(input: Tensor) -> Tensor:
    """All elements 0."""
    return _set(input, 0, "zero_")


@method
def fill_(input: Tensor, value: Any) -> Tensor:
    """All elements one number, or a 0-d tensor."""
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(f"fill_: one number is needed, got a tensor of shape {value.shape}")
    return _set(input, value, "fill_")


@method
def fill_diagonal_(input: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """The diagonal of a matrix one number."""
    if input.ndim != 2 or wrap:
        raise RuntimeError(f"fill_diagonal_: a matrix is needed, got shape {input.shape}")
    input.diagonal().fill_(fill_value)
    return input


@method
def uniform_(
    input: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Any = None
) -> Tensor:
    """Uniform random numbers in [from_, to)."""
    if from_ > to:
        raise RuntimeError(f"uniform_: from {from_} must not be above to {to}")
    draws = uniform_array(input.shape, input.dtype, generator)
    draws *= input.dtype.type(to - from_)
    draws += input.dtype.type(from_)
    return _set(input, Tensor(draws), "uniform_")


@method
def normal_(input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Normal random numbers."""
    if std < 0:
        raise RuntimeError(f"normal_: std must not be negative, got {std}")
    draws = normal_array(input.shape, input.dtype, generator)
    draws *= input.dtype.type(std)
    draws += input.dtype.type(mean)
    return _set(input, Tensor(draws), "normal_")


@method
def bernoulli_(input: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """1 with probability p (a number, or a tensor that broadcasts), else 0."""
    chance = p.array if isinstance(p, Tensor) else np.asarray(p)
    if chance.size and not (chance.min() >= 0 and chance.max() <= 1):
        raise RuntimeError(f"bernoulli_: p must be from 0 to 1, got {p}")
    draws = source(generator).random(input.shape) < chance
    return _set(input, Tensor(draws.astype(input.dtype)), "bernoulli_")


@method
def random_(
    input: Tensor, from_: int = 0, to: int | None = None, *, generator: Any = None
) -> Tensor:
    """Whole random numbers from from_ to to - 1; by default all that the dtype holds exactly."""
    if to is None and from_:
        from_, to = 0, from_
    if to is None:
        kind = input.dtype.kind
        to = 2 ** (np.finfo(input.dtype).nmant + 1) if kind == "f" else np.iinfo(input.dtype).max
    draws = source(generator).integers(from_, to, input.shape)
    return _set(input, Tensor(np.asarray(draws).astype(input.dtype)), "random_")


@method
def exponential_(input: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Exponential random numbers of rate `lambd`."""
    draws = source(generator).standard_exponential(input.shape) / lambd
    return _set(input, Tensor(np.asarray(draws).astype(input.dtype)), "exponential_")
