"""Dropout of elements and of whole channels, and the form for self-normalising networks.

Masks come from minidl's default generator.
"""

import numpy as np

from minidl._apply import apply
from minidl._tensor import Tensor
from minidl.ops import dropout as ops
from minidl.typing import Array

__all__ = [
    "alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout",
]  # fmt: skip

_FLOOR = -1.7580993408473766  # of SELU: -scale * alpha, what x -> -inf becomes


def _checked(name: str, input: Tensor, p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p must be from 0 to 1, got {p}")
    if input.dtype.kind != "f":
        raise TypeError(f"{name}: floating point is needed, got {input.dtype}; use .float()")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element 0 with probability p, else divided by 1 - p; nothing if not `training`."""
    _checked("dropout", input, p)
    if not training or p == 0:
        return input
    from minidl.random import new_key

    out = apply(ops.Dropout, input, new_key(), p=p)
    return input.copy_(out) if inplace else out


def _kept(shape: tuple[int, ...], dtype: np.dtype, p: float) -> Array:
    """1 / (1 - p) with probability 1 - p, else 0."""
    from minidl.random import new_key

    return ops.masked_by_key(np.ones(shape, dtype), new_key(), p)


def _of_channels(
    name: str, input: Tensor, p: float, training: bool, inplace: bool, axes: int
) -> Tensor:
    """Whole channels; x has 1 + `axes` axes, or 2 + `axes` with samples before."""
    _checked(name, input, p)
    if input.ndim not in (axes + 1, axes + 2):
        raise ValueError(
            f"{name}: x must have {axes + 1} axes (C, ...) or {axes + 2} (N, C, ...), "
            f"got {input.shape}"
        )
    if not training or p == 0:
        return input
    shape = (*input.shape[:-axes], *(1,) * axes)
    out = input * Tensor(_kept(shape, input.dtype, p))
    return input.copy_(out) if inplace else out


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Each channel of x (N, C, L) or (C, L) 0 with probability p, else divided by 1 - p.

    Neighbours in a channel say nearly the same, so single elements hide little (Tompson et al.
    2015, arXiv:1411.4280).
    """
    return _of_channels("dropout1d", input, p, training, inplace, 1)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Each channel of x (N, C, H, W) or (C, H, W) 0 with probability p, else divided by 1 - p."""
    return _of_channels("dropout2d", input, p, training, inplace, 2)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Each channel of x (N, C, D, H, W) or (C, D, H, W) 0 with probability p, else scaled."""
    return _of_channels("dropout3d", input, p, training, inplace, 3)


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout that keeps mean 0 and variance 1, for SELU (Klambauer et al. 2017, arXiv:1706.02515).

        out = a (x d + f (1 - d)) + b,   f = -1.758..., the floor of SELU
        a = ((1 - p) (1 + p f^2))^-1/2,   b = -a p f

    d is 1 with probability 1 - p, else 0.
    """
    return _alpha("alpha_dropout", input, p, training, inplace, input.shape)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """`alpha_dropout` of whole channels of x (N, C, ...)."""
    if input.ndim < 2:
        raise ValueError(f"feature_alpha_dropout: x must be (N, C, ...), got {input.shape}")
    shape = (*input.shape[:2], *(1,) * (input.ndim - 2))
    return _alpha("feature_alpha_dropout", input, p, training, inplace, shape)


def _alpha(
    name: str, input: Tensor, p: float, training: bool, inplace: bool, shape: tuple[int, ...]
) -> Tensor:
    _checked(name, input, p)
    if not training or p == 0:
        return input
    if p == 1:
        out = input * 0.0
    else:
        d = _kept(shape, input.dtype, p) > 0
        a = ((1 - p) * (1 + p * _FLOOR**2)) ** -0.5
        b = -a * p * _FLOOR
        shift = np.where(d, b, a * _FLOOR + b).astype(input.dtype)
        out = input * Tensor(d * input.dtype.type(a)) + Tensor(shift)
    return input.copy_(out) if inplace else out
