"""New tensors from data, sizes and numbers."""

from typing import Any

import numpy as np

from minidl._device import check_device
from minidl._tensor import Tensor, method
from minidl.dtypes import as_dtype, get_default_dtype, int64, scalar_dtype
from minidl.functional._common import sizes_of
from minidl.typing import Array

__all__ = [
    "arange", "as_tensor", "asarray", "empty", "empty_like", "eye", "from_numpy", "full",
    "full_like", "linspace", "logspace", "ones", "ones_like", "scalar_tensor", "tensor",
    "tril_indices", "triu_indices", "zeros", "zeros_like",
]  # fmt: skip


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False):
    """A leaf with a copy of `data`: numbers, nested sequences, an array, or a Tensor.

    Python floats take the default dtype (float32); an array keeps its own.
    """
    check_device(device)
    array = np.array(_read(data, dtype), order="C")
    return Tensor(array).requires_grad_(requires_grad) if requires_grad else Tensor(array)


def _read(data: Any, dtype: Any) -> Array:
    """An array of data, in `dtype` or in what PyTorch would give it; a copy only if need be."""
    if isinstance(data, Tensor):
        data = data.array
    kept = isinstance(data, (np.ndarray, np.generic))
    try:
        array = np.asarray(data if kept else _plain(data))
    except ValueError as error:
        raise ValueError(f"tensor: nested sequences must have equal lengths ({error})") from None
    if dtype is not None:
        return array.astype(as_dtype(dtype), copy=False)
    if not kept and (array.dtype.kind == "f" or not array.size):
        return array.astype(get_default_dtype(), copy=False)
    as_dtype(array.dtype)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def _plain(data: Any) -> Any:
    if isinstance(data, (list, tuple)):
        return [_plain(x) for x in data]
    return data.array if isinstance(data, Tensor) else data


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`data` as a tensor: itself if it is one of that dtype, on the same memory if an array."""
    check_device(device)
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(as_dtype(dtype))
    return Tensor(_read(data, dtype))


def asarray(obj: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """`as_tensor`, under NumPy's name."""
    return as_tensor(obj, dtype, device)


def from_numpy(ndarray: Array) -> Tensor:
    """A tensor on the array's own memory: a change of one is seen in the other."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"from_numpy: an ndarray is needed, got {type(ndarray).__name__}")
    as_dtype(ndarray.dtype)
    return Tensor(ndarray)


def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False):
    """A 0-d tensor of one number, of the default dtype."""
    return tensor(s, dtype=get_default_dtype() if dtype is None else dtype, device=device,
                  requires_grad=requires_grad)  # fmt: skip


# filled


def leaf(array: Array, requires_grad: bool) -> Tensor:
    """A new tensor, checked if it is to require a gradient."""
    return Tensor(array).requires_grad_(True) if requires_grad else Tensor(array)


def float_dtype(dtype: Any, device: Any = None) -> np.dtype:
    """The dtype named, or the default floating type."""
    check_device(device)
    return get_default_dtype() if dtype is None else as_dtype(dtype)


def shape_from(sizes: tuple[Any, ...], size: Any, name: str) -> tuple[int, ...]:
    """Sizes given one by one, as a sequence, or as size=."""
    shape = sizes_of(sizes if size is None else (size,))
    if any(n < 0 for n in shape):
        raise RuntimeError(f"{name}: sizes must not be negative, got {shape}")
    return shape


def zeros(
    *sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad=False
) -> Tensor:
    """Zeros of a shape."""
    shape = shape_from(sizes, size, "zeros")
    return leaf(np.zeros(shape, float_dtype(dtype, device)), requires_grad)


def ones(
    *sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad=False
) -> Tensor:
    """Ones of a shape."""
    shape = shape_from(sizes, size, "ones")
    return leaf(np.ones(shape, float_dtype(dtype, device)), requires_grad)


def empty(
    *sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad=False
) -> Tensor:
    """A tensor whose values are whatever lies in its memory."""
    shape = shape_from(sizes, size, "empty")
    return leaf(np.empty(shape, float_dtype(dtype, device)), requires_grad)


def full(
    size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad=False
) -> Tensor:
    """One number, of whose kind the tensor is, in a shape."""
    check_device(device)
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    kind = scalar_dtype(value) if dtype is None else as_dtype(dtype)
    return leaf(np.full(shape_from((size,), None, "full"), value, kind), requires_grad)


def _like(input: Tensor, dtype: Any, device: Any) -> np.dtype:
    check_device(device)
    return input.dtype if dtype is None else as_dtype(dtype)


def zeros_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad=False):
    """Zeros of the shape and dtype of `input`."""
    return leaf(np.zeros(input.shape, _like(input, dtype, device)), requires_grad)


def ones_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad=False):
    """Ones of the shape and dtype of `input`."""
    return leaf(np.ones(input.shape, _like(input, dtype, device)), requires_grad)


def empty_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad=False):
    """`empty` of the shape and dtype of `input`."""
    return leaf(np.empty(input.shape, _like(input, dtype, device)), requires_grad)


def full_like(
    input: Tensor, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad=False
) -> Tensor:
    """One number in the shape and dtype of `input`."""
    return leaf(np.full(input.shape, fill_value, _like(input, dtype, device)), requires_grad)


@method
def new_zeros(
    input: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad=False
):
    """Zeros of another shape, in the dtype of `input`."""
    return zeros(*size, dtype=_like(input, dtype, device), requires_grad=requires_grad)


@method
def new_ones(input: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad=False):
    """Ones of another shape, in the dtype of `input`."""
    return ones(*size, dtype=_like(input, dtype, device), requires_grad=requires_grad)


@method
def new_empty(
    input: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad=False
):
    """`empty` of another shape, in the dtype of `input`."""
    return empty(*size, dtype=_like(input, dtype, device), requires_grad=requires_grad)


@method
def new_full(
    input: Tensor, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """One number in another shape, in the dtype of `input`."""
    return full(size, fill_value, dtype=_like(input, dtype, device), requires_grad=requires_grad)


@method
def new_tensor(
    input: Tensor, data: Any, *, dtype: Any = None, device: Any = None, requires_grad=False
) -> Tensor:
    """`tensor` in the dtype of `input`."""
    return tensor(data, dtype=_like(input, dtype, device), requires_grad=requires_grad)


# ranges and patterns


def arange(
    start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """start, start + step, ... below end; arange(end) starts at 0.

    int64 if all are whole numbers, else the default floating type.
    """
    check_device(device)
    if end is None:
        start, end = 0, start
    first, last, by = (x.item() if isinstance(x, Tensor) else x for x in (start, end, step))
    if by == 0 or (last - first) * by < 0:
        raise RuntimeError(f"arange: from {first} to {last} no steps of {by} lead")
    if dtype is None:
        whole = all(isinstance(x, (int, np.integer)) for x in (first, last, by))
        dtype = int64 if whole else get_default_dtype()
    dtype = as_dtype(dtype)
    if all(isinstance(x, (int, np.integer)) for x in (first, last, by)):
        return leaf(np.arange(first, last, by).astype(dtype, copy=False), requires_grad)
    count = int(np.ceil((last - first) / by))
    values = first + np.arange(count, dtype=np.float64) * by
    return leaf(values.astype(dtype), requires_grad)


def linspace(
    start: Any, end: Any, steps: int, *, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """`steps` numbers at equal distances from start to end, both included."""
    kind = float_dtype(dtype, device)
    if steps < 0:
        raise RuntimeError(f"linspace: steps must not be negative, got {steps}")
    values = np.linspace(float(start), float(end), steps)
    return leaf((np.trunc(values) if kind.kind != "f" else values).astype(kind), requires_grad)


def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """base to the powers `linspace(start, end, steps)`."""
    kind = float_dtype(dtype, device)
    powers = np.linspace(float(start), float(end), steps)
    return leaf((float(base) ** powers).astype(kind), requires_grad)


def eye(
    n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad=False
) -> Tensor:
    """Ones on the diagonal of an (n, m) matrix, zeros elsewhere."""
    return leaf(np.eye(n, m, dtype=float_dtype(dtype, device)), requires_grad)


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = int64, device: Any = None
) -> Tensor:
    """Rows and columns (2, N) of the elements on and below a diagonal of a (row, col) matrix."""
    check_device(device)
    return Tensor(np.stack(np.tril_indices(row, offset, col)).astype(as_dtype(dtype)))


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = int64, device: Any = None
) -> Tensor:
    """Rows and columns (2, N) of the elements on and above a diagonal of a (row, col) matrix."""
    check_device(device)
    return Tensor(np.stack(np.triu_indices(row, offset, col)).astype(as_dtype(dtype)))
