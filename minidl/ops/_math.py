"""Functions that arrays and Tensors share, for the backward of elementary ops.

An array goes to NumPy; anything else has the method of the same name. Together with operators,
`reshape`, `swapaxes` and `sum(axis=, keepdims=)` this is all that such a backward may use, so that
the gradient of a gradient needs no second set of formulas.
"""

from typing import Any

import numpy as np

from minidl.typing import Array

PLAIN = (np.ndarray, np.generic)  # arithmetic of 0-d arrays gives NumPy scalars

def exp(x: Any) -> Any:
    """e^x."""
    return np.exp(x) if isinstance(x, PLAIN) else x.exp()


def log(x: Any) -> Any:
    """Natural logarithm."""
    return np.log(x) if isinstance(x, PLAIN) else x.log()


def cos(x: Any) -> Any:
    """Cosine, x in radians."""
    return np.cos(x) if isinstance(x, PLAIN) else x.cos()


def sin(x: Any) -> Any:
    """Sine, x in radians."""
    return np.sin(x) if isinstance(x, PLAIN) else x.sin()


def sqrt(x: Any) -> Any:
    """Square root."""
    return np.sqrt(x) if isinstance(x, PLAIN) else x.sqrt()


def sinh(x: Any) -> Any:
    """Hyperbolic sine."""
    return np.sinh(x) if isinstance(x, PLAIN) else x.sinh()


def masked(keep: Array, x: Any) -> Any:
    """x where `keep`, 0 elsewhere: not a product, for 0 * inf is NaN."""
    return np.where(keep, x, x.dtype.type(0)) if isinstance(x, PLAIN) else x.masked(keep)


def values(x: Any) -> Array:
    """The array of an array or a Tensor: for masks, which have no derivative. A number stays."""
    return x if isinstance(x, (*PLAIN, int, float)) else x.array


def untaken(dout: Any, dx: Any) -> Any:
    """dx, but 0 where dout is 0: a branch that was not taken sends no NaN back from a pole."""
    array = values(dx)
    if np.isfinite(array).all():
        return dx
    return masked(values(dout) != 0, dx)


def take_flat(x: Any, places: Array) -> Any:
    """Elements by flat index."""
    return x.reshape(-1)[places] if isinstance(x, PLAIN) else x.take_flat(places)


def add_flat(x: Any, places: Array, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape` with the elements of x added at their flat places."""
    if not isinstance(x, PLAIN):
        return x.add_flat(places, shape)
    size = int(np.prod(shape, dtype=np.int64))
    flat = np.bincount(places.reshape(-1), x.reshape(-1), minlength=size)  # sums in float64
    return flat.astype(x.dtype).reshape(shape)


def expand(x: Any, shape: tuple[int, ...]) -> Any:
    """Broadcast to a shape."""
    return np.broadcast_to(x, shape) if isinstance(x, PLAIN) else x.expand(shape)


def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x), without overflow."""
    if not isinstance(x, PLAIN):
        return x.sigmoid()
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, x.dtype.type(1)) / (1 + e)
