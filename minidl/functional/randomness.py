"""Tensors of random numbers, from a `numpy.random.Generator` or the default one."""

from typing import Any

import numpy as np

from minidl._device import check_device
from minidl._tensor import Tensor, method
from minidl.dtypes import as_dtype, float32, float64, int64
from minidl.functional.creation import float_dtype, leaf, shape_from
from minidl.typing import Array

__all__ = [
    "bernoulli", "multinomial", "normal", "rand", "rand_like", "randint", "randint_like", "randn",
    "randn_like", "randperm",
]  # fmt: skip


def source(generator: Any) -> "np.random.Generator":
    """The generator given, or the default one, which `minidl.manual_seed` seeds."""
    if generator is None:
        from minidl.random import default_generator

        return default_generator
    if not isinstance(generator, np.random.Generator):
        raise TypeError(
            f"generator: a numpy.random.Generator is needed, got {type(generator).__name__}; "
            "make one with numpy.random.default_rng(seed)"
        )
    return generator


def uniform_array(shape: Any, dtype: np.dtype, generator: Any) -> Array:
    """Uniform in [0, 1)."""
    if dtype in (float32, float64):
        return np.asarray(source(generator).random(shape, dtype=dtype.type))
    return np.asarray(source(generator).random(shape, dtype=np.float32)).astype(_floating(dtype))


def normal_array(shape: Any, dtype: np.dtype, generator: Any) -> Array:
    """Of mean 0 and standard deviation 1."""
    if dtype in (float32, float64):
        return np.asarray(source(generator).standard_normal(shape, dtype=dtype.type))
    draws = source(generator).standard_normal(shape, dtype=np.float32)
    return np.asarray(draws).astype(_floating(dtype))


def _floating(dtype: np.dtype) -> np.dtype:
    if dtype.kind != "f":
        raise TypeError(f"random numbers need a floating type, got {dtype}; see randint")
    return dtype


def rand(
    *sizes: Any, size: Any = None, generator: Any = None, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Uniform in [0, 1)."""
    shape = shape_from(sizes, size, "rand")
    return leaf(uniform_array(shape, float_dtype(dtype, device), generator), requires_grad)


def randn(
    *sizes: Any, size: Any = None, generator: Any = None, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Normal, with mean 0 and standard deviation 1."""
    shape = shape_from(sizes, size, "randn")
    return leaf(normal_array(shape, float_dtype(dtype, device), generator), requires_grad)


def rand_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad=False):
    """`rand` in the shape and dtype of `input`."""
    kind = input.dtype if dtype is None else dtype
    return rand(input.shape, dtype=kind, device=device, requires_grad=requires_grad)


def randn_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad=False):
    """`randn` in the shape and dtype of `input`."""
    kind = input.dtype if dtype is None else dtype
    return randn(input.shape, dtype=kind, device=device, requires_grad=requires_grad)


def randint(
    low: int, high: Any = None, size: Any = None, *, generator: Any = None, dtype: Any = int64,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Whole numbers from low to high - 1; randint(high, size) starts at 0."""
    check_device(device)
    if size is None:
        if high is None or isinstance(high, (int, np.integer)):
            raise TypeError("randint: give randint(high, size) or randint(low, high, size)")
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    if low >= high:
        raise RuntimeError(f"randint: high {high} must be above low {low}")
    draws = source(generator).integers(low, high, shape_from((size,), None, "randint"))
    return leaf(np.asarray(draws).astype(as_dtype(dtype), copy=False), requires_grad)


def randint_like(
    input: Tensor, low: int, high: int | None = None, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """`randint` in the shape and dtype of `input`."""
    kind = input.dtype if dtype is None else dtype
    return randint(low, high, size=input.shape, dtype=kind, device=device)


def randperm(n: int, *, generator: Any = None, dtype: Any = int64, device: Any = None) -> Tensor:
    """0 to n - 1 in random order."""
    check_device(device)
    return Tensor(source(generator).permutation(n).astype(as_dtype(dtype), copy=False))


def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Any = None, dtype: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Normal numbers; mean and std are numbers, or tensors, one for each element."""
    arrays = [x.array if isinstance(x, Tensor) else np.asarray(x) for x in (mean, std)]
    if (arrays[1] < 0).any():
        raise RuntimeError("normal: std must not be negative")
    given = next((x.dtype for x in (mean, std) if isinstance(x, Tensor)), None)
    kind = float_dtype(given if dtype is None else dtype, device)
    if size is None:
        shape = np.broadcast_shapes(arrays[0].shape, arrays[1].shape)
    else:
        shape = shape_from((size,), None, "normal")
    draws = normal_array(shape, kind, generator)
    return leaf(np.asarray(draws * arrays[1] + arrays[0]).astype(kind, copy=False), requires_grad)


@method
def bernoulli(input: Tensor, p: Any = None, *, generator: Any = None) -> Tensor:
    """1 with the probability that `input` (or p) gives, else 0; no gradient."""
    chance = input.array if p is None else np.asarray(p)
    if chance.size and not (chance.min() >= 0 and chance.max() <= 1):
        raise RuntimeError("bernoulli: probabilities must be from 0 to 1")
    draws = source(generator).random(input.shape)
    return Tensor(np.asarray(draws < chance).astype(input.dtype))


@method
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None
) -> Tensor:
    """Class numbers drawn with weights `input` (K,) or (N, K): (num_samples,) or (N, num_samples).

    Without replacement by the largest of log(u) / weight (Efraimidis & Spirakis 2006, Weighted
    random sampling with a reservoir).
    """
    weights = input.array.astype(np.float64)
    if weights.ndim not in (1, 2):
        raise RuntimeError(f"multinomial: weights (K,) or (N, K) are needed, got {weights.shape}")
    rows = weights.reshape(-1, weights.shape[-1])
    if not np.isfinite(rows).all() or (rows < 0).any() or (rows.sum(1) <= 0).any():
        raise RuntimeError("multinomial: weights must be finite, 0 or more, and not all 0 in a row")
    if num_samples < 1:
        raise RuntimeError(f"multinomial: num_samples must be above 0, got {num_samples}")
    rng = source(generator)
    if replacement:
        bounds = rows.cumsum(1) / rows.sum(1, keepdims=True)
        last = rows.shape[1] - 1 - (rows[:, ::-1] > 0).argmax(1)  # rounding must not pass it
        draws = [np.searchsorted(b, rng.random(num_samples), side="right") for b in bounds]
        picked = np.minimum(np.stack(draws), last[:, None])
    else:
        if num_samples > (rows > 0).sum(1).min():
            raise RuntimeError(
                f"multinomial: {num_samples} samples without replacement need as many classes of "
                "weight above 0; give replacement=True"
            )
        with np.errstate(divide="ignore"):
            keys = np.log(1.0 - rng.random(rows.shape)) / rows
        keys[rows == 0] = -np.inf
        picked = np.argsort(-keys, axis=1)[:, :num_samples]
    return Tensor(np.ascontiguousarray(picked.reshape(*weights.shape[:-1], num_samples)))
