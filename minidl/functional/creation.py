"""New tensors from data, sizes and numbers."""

from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.dtypes import as_dtype, get_default_dtype

__all__ = ["tensor"]


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False):
    """A leaf with a copy of `data`: numbers, nested sequences, an array, or a Tensor.

    Python floats take the default dtype (float32); an array keeps its own.
    """
    check_device(device)
    if isinstance(data, Tensor):
        data = data.array
    array = np.array(_plain(data))
    if dtype is not None:
        array = array.astype(as_dtype(dtype))
    elif array.dtype.kind == "f" and not isinstance(data, (np.ndarray, np.generic)):
        array = array.astype(get_default_dtype())
    else:
        as_dtype(array.dtype)
    return Tensor(np.ascontiguousarray(array).reshape(array.shape)).requires_grad_(requires_grad)


def _plain(data: Any) -> Any:
    if isinstance(data, (list, tuple)):
        return [_plain(x) for x in data]
    return data.array if isinstance(data, Tensor) else data


def check_device(device: Any) -> None:
    """Only the CPU is there."""
    if device is not None and str(device) != "cpu":
        raise ValueError(f"device {str(device)!r} is not there: this framework runs on 'cpu' only")
