"""Memory shared with other libraries, the limits of dtypes, and dtypes mixed."""

from typing import Any

import numpy as np

from minidl._tensor import Tensor, method
from minidl.dtypes import as_dtype, get_default_dtype, mix, result_dtype

__all__ = ["Size", "dtype", "finfo", "from_dlpack", "iinfo", "promote_types", "result_type"]

Size = tuple
"""A shape is a plain tuple: `x.shape.numel()` is `x.numel()`."""

dtype = np.dtype
"""The class of dtypes: they are NumPy's."""


@method
def __dlpack__(input: Tensor, **settings: Any) -> Any:
    """The array as a DLPack capsule, without a copy: for `torch.from_dlpack(x)` and its like."""
    if input.requires_grad:
        raise BufferError(
            "__dlpack__: this tensor requires a gradient, which another library would not see; "
            "give x.detach()"
        )
    return input.array.__dlpack__(**settings)


@method
def __dlpack_device__(input: Tensor) -> tuple[int, int]:
    """The CPU, as DLPack numbers it."""
    return input.array.__dlpack_device__()


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor on the memory of any object that has `__dlpack__`: changes show in both."""
    if not hasattr(ext_tensor, "__dlpack__"):
        raise TypeError(
            f"from_dlpack: an object with __dlpack__ is needed, got {type(ext_tensor).__name__}; "
            "tensor() and as_tensor() read anything"
        )
    array = np.from_dlpack(ext_tensor)
    as_dtype(array.dtype)
    return Tensor(array)


class finfo:
    """The limits of a floating dtype, the default one if none is named."""

    def __init__(self, type: Any = None):
        self._limits = np.finfo(get_default_dtype() if type is None else as_dtype(type))
        self.bits = int(self._limits.bits)
        self.dtype = str(self._limits.dtype)
        for name in ("eps", "max", "min", "resolution", "smallest_normal", "tiny"):
            setattr(self, name, float(getattr(self._limits, name)))

    eps: float  # the step from 1 to the next number
    max: float
    min: float
    resolution: float
    smallest_normal: float
    tiny: float  # smallest_normal under its old name

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        values = ", ".join(f"{name}={getattr(self, name):g}" for name in names)
        return f"finfo({values}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer dtype."""

    def __init__(self, type: Any):
        limits = np.iinfo(as_dtype(type))
        self.bits, self.max, self.min = int(limits.bits), int(limits.max), int(limits.min)
        self.dtype = str(limits.dtype)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def promote_types(type1: Any, type2: Any) -> np.dtype:
    """The dtype of an operation on two tensors with axes, of these dtypes."""
    return mix(as_dtype(type1), as_dtype(type2))


def result_type(tensor1: Any, tensor2: Any) -> np.dtype:
    """The dtype of an operation on two tensors or numbers."""
    return result_dtype([x.array if isinstance(x, Tensor) else x for x in (tensor1, tensor2)])
