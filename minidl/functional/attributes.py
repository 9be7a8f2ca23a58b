"""What a tensor is: sizes, memory, types and the change of them."""

import sys
from typing import Any

import numpy as np

from minidl._apply import cast
from minidl._device import CPU, check_device, device
from minidl._tensor import Tensor, method
from minidl.dtypes import as_dtype
from minidl.functional._common import one_axis
from minidl.functional.shape import clone

__all__ = [
    "device", "is_floating_point", "is_nonzero", "is_same_size", "is_tensor", "numel",
]  # fmt: skip


def is_tensor(obj: Any) -> bool:
    """Whether this is a Tensor."""
    return isinstance(obj, Tensor)


@method
def numel(input: Tensor) -> int:
    """How many elements there are."""
    return input.array.size


@method
def is_floating_point(input: Tensor) -> bool:
    """Whether the elements are floating point numbers."""
    return input.array.dtype.kind == "f"


@method
def is_nonzero(input: Tensor) -> bool:
    """Whether the one element is not 0."""
    return bool(input)


@method
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two shapes are equal."""
    return input.shape == other.shape


@method
def is_complex(input: Tensor) -> bool:
    """False: complex numbers are not supported."""
    return False


@method
def size(input: Tensor, dim: int | None = None) -> Any:
    """The shape, or the size of one axis."""
    if dim is None:
        return input.shape
    axis = one_axis(dim, input.ndim, "size")
    if not input.ndim:
        raise IndexError(f"size: dim {dim} is out of range for a 0-d tensor")
    return input.shape[axis]


def _named(name: str, function: Any, line: str) -> None:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = line
    method(function)


_named("dim", lambda self: self.array.ndim, "How many axes there are.")
_named("ndimension", lambda self: self.array.ndim, "How many axes there are.")
_named("nelement", lambda self: self.array.size, "How many elements there are.")
_named("element_size", lambda self: self.array.itemsize, "Bytes of one element.")
_named("data_ptr", lambda self: self.array.ctypes.data, "The address of the first element.")
_named("get_device", lambda self: -1, "-1: the CPU.")
_named("cpu", lambda self: self, "The tensor itself: it is there already.")
_named("is_inference", lambda self: False, "False: inference tensors are ordinary ones here.")

for _name, _line, _value in (
    ("device", "The one device, equal to 'cpu'.", lambda self: CPU),
    ("itemsize", "Bytes of one element.", lambda self: self.array.itemsize),
    ("nbytes", "Bytes of all elements.", lambda self: self.array.nbytes),
    ("is_cuda", "False.", lambda self: False),
    ("is_sparse", "False.", lambda self: False),
    ("output_nr", "0.", lambda self: 0),
):
    setattr(Tensor, _name, property(_value, doc=_line))


@method
def stride(input: Tensor, dim: int | None = None) -> Any:
    """How many elements apart neighbours along each axis (or along `dim`) lie in memory."""
    steps = tuple([n // input.array.itemsize for n in input.array.strides])
    return steps if dim is None else steps[one_axis(dim, input.ndim, "stride")]


@method
def storage_offset(input: Tensor) -> int:
    """How many elements after the start of its storage a view begins."""
    owner = input.array if input.origin is None else input.origin[0].array
    return (input.array.ctypes.data - owner.ctypes.data) // input.array.itemsize


@method
def is_contiguous(input: Tensor, memory_format: Any = None) -> bool:
    """Whether the elements lie in row-major order without gaps."""
    return bool(input.array.flags.c_contiguous)


# types

_TYPES = {
    "float": "float32", "double": "float64", "half": "float16", "int": "int32", "long": "int64",
    "short": "int16", "char": "int8", "byte": "uint8", "bool": "bool",
}  # fmt: skip


def _converter(name: str, dtype: np.dtype) -> None:
    def function(self: Tensor, memory_format: Any = None) -> Tensor:
        return cast(self, dtype)

    _named(name, function, f"The values as {dtype}; the tensor itself if they are that already.")


for _name, _dtype in _TYPES.items():
    _converter(_name, np.dtype(_dtype))


@method
def to(
    input: Tensor, *args: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False,
    copy: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """The values in another dtype: to(dtype), to("cpu"), to("cpu", dtype), to(other).

    The tensor itself if nothing changes, unless `copy`.
    """
    for given in args[:2]:
        if isinstance(given, Tensor):
            dtype = given.dtype
        elif is_device(given):
            device = given
        elif isinstance(given, bool):
            break  # non_blocking: there is nothing to wait for
        else:
            dtype = as_dtype(given)
    check_device(device)
    out = input if dtype is None else cast(input, as_dtype(dtype))
    return clone(out) if copy and out is input else out


def is_device(x: Any) -> bool:
    """Whether an argument of `to` names a device, not a dtype."""
    if x is None or isinstance(x, device):
        return True
    if not isinstance(x, str) or x == "bfloat16":
        return False
    try:
        np.dtype(x)
    except TypeError:
        return True  # "cpu", or a device that check_device will refuse by name
    return False


@method
def type_as(input: Tensor, other: Tensor) -> Tensor:
    """The values in the dtype of `other`."""
    return cast(input, other.dtype)


_TYPE_NAMES = {v: k.capitalize() for k, v in _TYPES.items()}


@method
def type(input: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The values in another dtype; without one the name of the type, as "minidl.FloatTensor"."""
    if dtype is None:
        return f"minidl.{_TYPE_NAMES[str(input.dtype)]}Tensor"
    return cast(input, as_dtype(dtype))


@method
def detach_(input: Tensor) -> Tensor:
    """Take this tensor itself off the tape."""
    if input.origin is not None:
        raise RuntimeError("detach_: a view cannot be taken off the tape in place; use detach()")
    input.node, input.requires_grad, input.hooks = None, False, None
    return input


def _sizeof(self: Tensor) -> int:
    return object.__sizeof__(self) + sys.getsizeof(self.array)


Tensor.__sizeof__ = _sizeof  # type: ignore[method-assign, assignment]
