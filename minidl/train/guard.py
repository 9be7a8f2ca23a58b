"""Stop where numbers stop being numbers, and say where that was."""

from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.sparse import RowSparse
from minidl.typing import Array


class NonFiniteError(FloatingPointError):
    """NaN or inf in the loss, a gradient or a weight; `name` says which, `batch` what was fed."""

    def __init__(self, message: str, name: str, batch: Any = None):
        super().__init__(message)
        self.name = name
        self.batch = batch


def is_finite(array: Array) -> bool:
    """Whether all elements are: one dot product where that is enough."""
    if array.dtype.kind != "f":
        return True
    flat = array.reshape(-1) if array.flags.c_contiguous else np.ravel(array)
    if array.dtype.itemsize >= 4:
        with np.errstate(all="ignore"):
            if np.isfinite(np.dot(flat, flat)):  # NaN and inf stay; large values may overflow
                return True
    return bool(np.isfinite(flat).all())


def bad_gradient(model: Any) -> tuple[str, str] | None:
    """(name, what) of the first gradient that is not finite."""
    for name, parameter in model.named_parameters():
        grad = parameter.grad
        if grad is not None:
            array = grad.values if isinstance(grad, RowSparse) else grad.array
            if not is_finite(array):
                return name, f"the gradient of {name} holds {_count(array)}"
    return None


def bad_weight(model: Any) -> tuple[str, str] | None:
    """(name, what) of the first parameter or buffer that is not finite."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if not is_finite(tensor.array):
            return name, f"the weight {name} holds {_count(tensor.array)}"
    return None


def bad_input(batch: Any) -> str | None:
    """What is wrong with the first tensor of a batch that is not finite."""
    if isinstance(batch, dict):
        batch = list(batch.values())
    for i, part in enumerate(batch if isinstance(batch, (list, tuple)) else [batch]):
        array = part.array if isinstance(part, Tensor) else part
        if isinstance(array, np.ndarray) and not is_finite(array):
            return f"part {i} of the batch holds {_count(array)}"
    return None


def _count(array: Array) -> str:
    nan, inf = int(np.isnan(array).sum()), int(np.isinf(array).sum())
    parts = [f"{n} {word}" for n, word in ((nan, "NaN"), (inf, "inf")) if n]
    return f"{' and '.join(parts)} among {array.size} numbers"
