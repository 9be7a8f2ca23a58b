"""Limits on gradients; a RowSparse counts as the table it stands for."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from minidl import kernels
from minidl._tensor import Tensor, host_call
from minidl.ops._math import KERNEL_FROM
from minidl.sparse import RowSparse
from minidl.typing import Array


def _with_gradient(parameters: Any) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    with_gradient = [p for p in listed if p.grad is not None]
    for p in with_gradient:
        if isinstance(p.grad, RowSparse):
            p.grad = p.grad.coalesced()  # rows that repeat are one row of the gradient
    return with_gradient


def _values(gradient: Any) -> Array:
    if isinstance(gradient, RowSparse):
        return gradient.coalesced().values
    return gradient.array if isinstance(gradient, Tensor) else np.asarray(gradient)


def _norm(values: Array, norm_type: float) -> float:
    """One array's norm; float32 squares are summed in blocks by BLAS, so no copy is made."""
    flat = values.reshape(-1)
    if not flat.size:
        return 0.0
    if norm_type == np.inf:
        return float(np.abs(flat).max())
    if norm_type == 2:
        with np.errstate(over="ignore"):
            total = float(np.dot(flat, flat))
        if np.isfinite(total) and total > 1e-30:
            return total**0.5
        return float(np.linalg.norm(flat.astype(np.float64)))  # squares over- or underflowed
    if norm_type == 0:
        return float(np.count_nonzero(flat))
    return float(np.linalg.norm(flat.astype(np.float64), ord=norm_type))


@host_call
def get_total_norm(
    tensors: Iterable[Any] | Tensor, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """The norm of all of them as one vector: Tensors, or RowSparse gradients."""
    listed = [tensors] if isinstance(tensors, (Tensor, RowSparse)) else list(tensors)
    norm_type = float(norm_type)
    norms = np.array([_norm(_values(t), norm_type) for t in listed], np.float64)
    total = np.linalg.norm(norms, ord=norm_type) if len(norms) else 0.0
    return _checked(total, norm_type, error_if_nonfinite, listed[0].dtype if listed else np.float32)


def _checked(total: Any, norm_type: float, error_if_nonfinite: bool, dtype: Any) -> Tensor:
    if error_if_nonfinite and not np.isfinite(total):
        raise RuntimeError(
            f"get_total_norm: the norm of order {norm_type} is {total}; a gradient has NaN or inf "
            "(autograd.detect_anomaly finds where), or give error_if_nonfinite=False"
        )
    return Tensor(np.asarray(total, dtype))


def _together(parameters: list[Tensor]) -> bool:
    """Whether one kernel call can do it: dense gradients, contiguous, different, of one dtype."""
    grads: list[Any] = [p.grad for p in parameters]
    if not kernels.ENABLED or len(set(map(id, grads))) < len(grads):
        return False
    for grad in grads:
        if type(grad) is not Tensor or grad.node is not None or grad.dtype is not grads[0].dtype:
            return False
        flags = grad.array.flags
        if not flags.c_contiguous or not flags.writeable:
            return False
    return sum([grad.array.size for grad in grads]) >= KERNEL_FROM and grads[0].dtype.itemsize >= 4


@host_call
def clip_grads_with_norm_(
    parameters: Iterable[Tensor] | Tensor, max_norm: float, total_norm: Tensor
) -> None:
    """Multiply all gradients by max_norm / (total_norm + 1e-6), if that is below 1."""
    factor = float(max_norm) / (float(total_norm) + 1e-6)
    if factor >= 1:
        return
    for p in _with_gradient(parameters):
        _in_place(p)[...] *= np.asarray(factor, p.dtype)


@host_call
def clip_grad_norm_(
    parameters: Iterable[Tensor] | Tensor,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients together, in place, so that their norm is at most max_norm.

    Returns the norm before (Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063). A norm that is NaN
    makes every gradient NaN, unless error_if_nonfinite.
    """
    listed = _with_gradient(parameters)
    if norm_type == 2 and _together(listed):
        from minidl.optim._tables import clip_together  # beside this package, so only when needed

        grads: list[Any] = [p.grad for p in listed]
        arrays = [grad.array for grad in grads]
        norm = clip_together(arrays, float(max_norm), not error_if_nonfinite)
        if not norm + 1e-6 <= max_norm:
            for grad in grads:
                grad.version[0] += 1
        return _checked(norm, 2.0, error_if_nonfinite, listed[0].dtype)
    total = get_total_norm([p.grad for p in listed], norm_type, error_if_nonfinite)
    clip_grads_with_norm_(listed, max_norm, total)
    return total


@host_call
def clip_grad_value_(parameters: Iterable[Tensor] | Tensor, clip_value: float) -> None:
    """Limit each element of each gradient, in place, to [-clip_value, clip_value]."""
    limit = float(clip_value)
    for p in _with_gradient(parameters):
        values = _in_place(p)
        np.clip(values, -limit, limit, out=values)


def _in_place(p: Tensor) -> Array:
    """The gradient's values as an array that only this gradient has."""
    grad: Any = p.grad
    if not isinstance(grad, RowSparse):
        grad.version[0] += 1
        return grad.array
    values = np.array(grad.values)  # backward's arrays may be shared: a RowSparse took no copy
    p.grad = RowSparse(grad.rows, values, grad.shape, True)
    return values
