"""What `x[...]` means: an index taken apart into a view and the arrays that pick from it.

As in PyTorch, whole numbers, slices, None and the ellipsis are applied first and give a view;
arrays of indices and masks then pick from its axes. (NumPy counts whole numbers among the arrays,
so that x[0, :, [1, 2]] has another order of axes there.)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.typing import Array, Shape

Picks = list[tuple[int, Array]]
"""Axes of the view, and for each the indices that pick from it."""

_EVERY = (None, None, None)
_SIMPLE = (int, type(None))


def parse(key: Any, shape: Shape) -> tuple[tuple[Any, ...] | None, Picks]:
    """The key of a `Slice` (None if it would leave all as it is), and what picks from the view."""
    items = [_plain(k) for k in (key if type(key) is tuple else (key,))]
    used = sum([_axes_used(k) for k in items])
    if used > len(shape):
        raise IndexError(f"index: {used} indices are too many for a tensor of shape {shape}")
    if not any(k is Ellipsis for k in items):
        items.append(Ellipsis)
    basic: list[Any] = []
    picks: Picks = []
    axis, out_axis = 0, 0  # of the tensor, of the view
    seen = False
    for k in items:
        if type(k) is int:
            basic.append(k)
            axis += 1
        elif type(k) is tuple:
            basic.append(k)
            axis, out_axis = axis + 1, out_axis + 1
        elif k is None:
            basic.append(None)
            out_axis += 1
        elif k is Ellipsis:
            if seen:
                raise IndexError("index: only one ellipsis (...) can stand in an index")
            seen = True
            count = len(shape) - used
            basic += [_EVERY] * count
            axis, out_axis = axis + count, out_axis + count
        elif k.dtype.kind != "b":
            basic.append(_EVERY)
            picks.append((out_axis, k))
            axis, out_axis = axis + 1, out_axis + 1
        elif not k.ndim:
            basic.append(None)
            picks.append((out_axis, np.zeros(1 if k else 0, np.int64)))
            out_axis += 1
        else:
            if k.shape != shape[axis : axis + k.ndim]:
                raise IndexError(
                    f"index: a mask of shape {k.shape} at axis {axis} does not fit a tensor of "
                    f"shape {shape}; its sizes must be those of the axes it picks from"
                )
            for ids in k.nonzero():
                basic.append(_EVERY)
                picks.append((out_axis, ids))
                axis, out_axis = axis + 1, out_axis + 1
    plain = all(k == _EVERY for k in basic) if picks else False
    return (None if plain else tuple(basic)), picks


def _plain(k: Any) -> Any:
    """An index as int, (start, stop, step), None, Ellipsis or array."""
    if type(k) is int or k is None or k is Ellipsis:
        return k
    if type(k) is slice:
        return slice_key(k)
    if isinstance(k, Tensor):
        k = k.array
    elif isinstance(k, (bool, np.bool_)):
        return np.asarray(k)
    elif isinstance(k, (list, tuple, range)):
        k = np.asarray([i.array if isinstance(i, Tensor) else i for i in k])
        k = k if k.size else k.astype(np.int64)
    elif isinstance(k, np.generic):
        k = np.asarray(k)
    if isinstance(k, np.ndarray):
        if k.dtype.kind == "i" or k.dtype.kind == "b":
            return int(k) if not k.ndim and k.dtype.kind == "i" else k
        if k.dtype.kind == "u":
            raise IndexError(
                f"index: {k.dtype} may mean a mask or numbers; say which with .bool() or .long()"
            )
        raise IndexError(f"index: an array of indices must be integer or bool, got {k.dtype}")
    if hasattr(k, "__index__"):
        return int(k.__index__())
    raise IndexError(
        "index: only integers, slices, ..., None, and integer or bool arrays are indices, "
        f"got {type(k).__name__}"
    )


def slice_key(k: slice) -> tuple[Any, Any, Any]:
    """A slice as (start, stop, step) of plain numbers."""
    start, stop, step = k.start, k.stop, k.step
    if step is None and type(start) in _SIMPLE and type(stop) in _SIMPLE:
        return start, stop, None
    if start is not None and type(start) is not int:
        start = start.__index__()
    if stop is not None and type(stop) is not int:
        stop = stop.__index__()
    if step is not None:
        step = step.__index__()
        if step <= 0:
            raise ValueError(f"index: the step of a slice must be above 0, got {step}; use flip()")
    return start, stop, step


def _axes_used(k: Any) -> int:
    if k is None or k is Ellipsis:
        return 0
    return k.ndim if isinstance(k, np.ndarray) and k.dtype.kind == "b" else 1


def merged(picks: Picks, shape: Shape) -> tuple[Array, bool]:
    """Indices of several axes as one index of them joined; whether they stand side by side."""
    axes = [axis for axis, _ in picks]
    together = axes == list(range(axes[0], axes[0] + len(axes)))
    ids = None
    for axis, array in picks:
        count = shape[axis]
        array = in_range(array, count, axis)
        try:
            ids = array if ids is None else ids * count + array
        except ValueError:
            shapes = ", ".join(str(a.shape) for _, a in picks)
            raise IndexError(f"index: arrays of shapes {shapes} do not broadcast") from None
    assert ids is not None
    return ids, together


def in_range(ids: Array, count: int, axis: int, name: str = "index") -> Array:
    """Indices as int64 from 0 on; those from the end are counted on, others are an error."""
    if not ids.size:
        return ids.astype(np.int64)
    low, high = int(ids.min()), int(ids.max())
    if low < -count or high >= count:
        raise IndexError(
            f"{name}: {low if low < -count else high} is out of range for axis {axis} with "
            f"{count} elements"
        )
    ids = ids.astype(np.int64, copy=False)
    return np.where(ids < 0, ids + count, ids) if low < 0 else ids


def stripped(value_shape: Sequence[int], target: Sequence[int]) -> tuple[int, ...]:
    """The shape of a value to be written, without leading ones that the target has no place for."""
    extra = len(value_shape) - len(target)
    if extra > 0 and all(n == 1 for n in value_shape[:extra]):
        return tuple(value_shape[extra:])
    return tuple(value_shape)
