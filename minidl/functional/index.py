"""Reading and writing parts of a tensor: `x[...]`, `x[...] = v`, windows, masks."""

from typing import Any

import numpy as np

from minidl._apply import _ONE, _tell, apply, apply1, cast, record, refresh
from minidl._inplace import changed, check_may_change, check_writable, overwrite, will_record
from minidl._tensor import Node, Tensor, _mode, method, observers, recorders
from minidl.functional._common import as_tensor, one_axis
from minidl.functional._subscript import merged, parse, slice_key, stripped
from minidl.functional.shape import expand, permute, reshape
from minidl.ops import index as ops
from minidl.ops import view as views
from minidl.ops.elementwise import Alias
from minidl.typing import Array

__all__ = [
    "argwhere", "masked_select", "narrow", "nonzero", "select",
]  # fmt: skip

_REST = (Ellipsis,)


def _getitem(self: Tensor, key: Any) -> Tensor:
    """x[key], as in PyTorch; whole numbers, slices, None and ... give a view."""
    if type(key) is int:
        return view_at(self, (key, Ellipsis), (key,))
    if type(key) is slice:
        return view_at(self, key, (slice_key(key),))
    if type(key) is tuple:
        plain = _quick_key(key)
        if plain is not None:
            return view_at(self, *plain)
    if type(key) is Tensor and _is_mask_of(key, self):
        return _by_mask(self, key.array)
    basic, picks = parse(key, self.array.shape)
    x = self if basic is None else view_at(self, views.place_of(basic), basic)
    return _pick(x, picks) if picks else x


def _is_mask_of(key: Tensor, x: Tensor) -> bool:
    """Whether this is a mask of the first axes of x: the common case, worth a way of its own."""
    mask = key.array
    return mask.dtype.kind == "b" and mask.ndim > 0 and mask.shape == x.shape[: mask.ndim]


def _by_mask(x: Tensor, mask: Array) -> Tensor:
    """The elements of x where a mask of its first axes is true: as one axis, 10 times quicker."""
    places = mask.reshape(-1).nonzero()[0]
    if mask.ndim == x.ndim:
        return apply(ops.TakeFlat, x, places)
    rest = x.shape[mask.ndim :]
    rows = reshape(x, (mask.size, *rest)) if mask.ndim > 1 else x
    return apply(ops.TakeRows, rows, places, axis=0)


def _quick_key(key: tuple[Any, ...]) -> Any:
    """What NumPy takes and what a `Slice` keeps, for a plain key, without a look at the shape."""
    kept: list[Any] = []
    dots = False
    for k in key:
        if type(k) is int or k is None:
            kept.append(k)
        elif type(k) is slice:
            kept.append(slice_key(k))
        elif k is Ellipsis:
            if dots:
                return None
            dots = True
            kept.append(k)
        else:
            return None
    return (key if dots else (*key, Ellipsis)), tuple(kept)


def view_at(x: Tensor, place: Any, key: tuple[Any, ...], recorded: bool = True) -> Tensor:
    """`apply(Slice, x, key=key)`, without what the general case costs."""
    if x.origin is not None:
        refresh(x)
    array = x.array
    try:
        out = Tensor(array[place])
    except IndexError as error:
        raise IndexError(f"index: {error}; the tensor has shape {array.shape}") from None
    settings = {"key": key}
    if recorders:
        record(views.Slice, (x,), settings, (out,))
    owner = x.origin
    out.version = version = x.version
    out.stamp = version[0]
    if owner is None:
        out.origin = (x, ((views.Slice, settings),))
    else:
        out.origin = (owner[0], (*owner[1], (views.Slice, settings)))
    if recorded and x.requires_grad and _mode.grad:
        out.node = node = Node(views.Slice, settings, (array.shape,), _ONE, (x.node or x,))
        out.requires_grad = True
        if observers:
            _tell(node)
    return out


def _pick(x: Tensor, picks: Any) -> Tensor:
    """The elements of x at arrays of indices; the axes picked from come to one place."""
    if len(picks) == 1:
        axis, ids = picks[0]
        try:
            return apply(ops.TakeRows, x, ids, axis=axis)
        except IndexError as error:
            raise IndexError(f"index: {error}; the tensor has shape {x.shape}") from None
    if not (x.requires_grad and _mode.grad):
        try:
            return Tensor(np.ascontiguousarray(x.array[_numpy_key(picks)]))
        except IndexError as error:
            raise IndexError(f"index: {error}; the tensor has shape {x.shape}") from None
    ids, together = merged(picks, x.shape)
    axes = [axis for axis, _ in picks]
    if not together:
        x = permute(x, (*axes, *[i for i in range(x.ndim) if i not in axes]))
        axes = list(range(len(axes)))
    first, shape = axes[0], x.shape
    joined = int(np.prod(shape[first : first + len(axes)], dtype=np.int64))
    x = reshape(x, (*shape[:first], joined, *shape[first + len(axes) :]))
    return apply(ops.TakeRows, x, ids, axis=first)


def _setitem(self: Tensor, key: Any, value: Any) -> None:
    """x[key] = value, on the tape; of several values for one element the last wins."""
    number = not isinstance(value, (Tensor, np.ndarray, list))
    if number and type(key) is Tensor and key.ndim == self.ndim and _is_mask_of(key, self):
        overwrite(self, self.masked_fill(key, value), "index")
        return
    basic, picks = parse(key, self.array.shape)
    if not self.array.flags.writeable:
        check_writable(self, "x[index] = value")
    place = None if basic is None else views.place_of(basic)
    if not will_record(self, (value,)):
        _write(self, self.array if place is None else self.array[place], picks, value)
        return
    check_may_change(self, "x[index] = value")
    target = self if basic is None else view_at(self, place, basic)
    if not picks and _same_view(target, value):
        return  # x[i] += v has changed it through the view
    value = cast(as_tensor(value, self), self.dtype)
    if not picks:
        value = _fitted(value, target.shape)
        overwrite(target, apply1(Alias, value) if value.requires_grad else value, "index")
        return
    places = np.arange(target.array.size).reshape(target.shape)[_numpy_key(picks)]
    put = apply(ops.PutFlat, target, _fitted(value, places.shape), places)
    overwrite(target, put, "index")


def _write(x: Tensor, target: Array, picks: Any, value: Any) -> None:
    array = value.array if isinstance(value, Tensor) else np.asarray(value)
    place = _numpy_key(picks) if picks else Ellipsis
    try:
        target[place] = array
    except ValueError:
        array = array.reshape(stripped(array.shape, target[place].shape))
        try:
            target[place] = array
        except ValueError:
            raise _misfit(array.shape, target[place].shape) from None
    changed(x)


def _numpy_key(picks: Any) -> tuple[Any, ...]:
    place: list[Any] = [slice(None)] * (picks[-1][0] + 1)
    for axis, ids in picks:
        place[axis] = ids
    return tuple(place)


def _fitted(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    if value.shape == shape:
        return value
    value = reshape(value, stripped(value.shape, shape))
    try:
        return expand(value, shape)
    except RuntimeError:
        raise _misfit(value.shape, shape) from None


def _misfit(value: Any, target: Any) -> ValueError:
    return ValueError(
        f"index: a value of shape {tuple(value)} does not broadcast to the indexed shape "
        f"{tuple(target)}"
    )


def _same_view(target: Tensor, value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.origin is not None
        and target.origin is not None
        and value.origin[0] is target.origin[0]
        and value.origin[1] == target.origin[1]
    )


def _reversed(self: Tensor) -> Tensor:
    flipped: Tensor = self.flip(0) if self.ndim else self
    return flipped


def _contains(self: Tensor, element: Any) -> bool:
    value = element.array if isinstance(element, Tensor) else element
    return bool((self.array == value).any())


Tensor.__getitem__ = _getitem  # type: ignore[method-assign, assignment, attr-defined]
Tensor.__setitem__ = _setitem  # type: ignore[method-assign, assignment, attr-defined]
Tensor.__reversed__ = _reversed  # type: ignore[method-assign, assignment, attr-defined]
Tensor.__contains__ = _contains  # type: ignore[method-assign, assignment, attr-defined, operator]


# parts along an axis


@method
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The view at one index of `dim`, without that axis."""
    if not input.ndim:
        raise IndexError("select: a 0-d tensor has no axis to select from")
    axis = one_axis(dim, input.ndim, "select")
    return input[(*(slice(None),) * axis, int(index))]


@method
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """The view of `length` elements along `dim` from `start` on, which may count from the end."""
    axis, start = one_axis(dim, input.ndim, "narrow"), int(start)
    count = input.shape[axis] if input.ndim else 1
    first = start + count if start < 0 else start
    if not 0 <= first <= count or length < 0 or first + length > count:
        raise IndexError(
            f"narrow: start {start} and length {length} leave dim {dim}, which has {count} elements"
        )
    return input[(*(slice(None),) * axis, slice(first, first + length))]


def _unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of `size` elements, `step` apart, along an axis: a view, with a new last axis."""
    axis = one_axis(dimension, self.ndim, "unfold")
    count = self.shape[axis] if self.ndim else 1
    if not 0 <= size <= count or step < 1:
        raise RuntimeError(
            f"unfold: size {size} must be at most {count}, the size of dim {dimension}, "
            f"and step {step} at least 1"
        )
    if not self.ndim:
        return reshape(self, 1)[:size]
    return apply(views.Unfold, self, axis=axis, size=size, step=step)


Tensor.unfold = _unfold  # type: ignore[attr-defined]


# by masks


@method
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask is true, in one axis; the two broadcast."""
    keep = mask.array
    if keep.dtype.kind != "b":
        raise TypeError(f"masked_select: the mask must be bool, got {keep.dtype}; use .bool()")
    shape = np.broadcast_shapes(input.shape, keep.shape)
    places = np.broadcast_to(keep, shape).reshape(-1).nonzero()[0]
    return apply(ops.TakeFlat, expand(input, shape), places)


@method
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not 0: (N, axes), or a tuple of one vector an axis."""
    if as_tuple:
        return tuple(Tensor(i) for i in np.atleast_1d(input.array).nonzero())
    return argwhere(input)


@method
def argwhere(input: Tensor) -> Tensor:
    """The indices of the elements that are not 0: (N, axes)."""
    return Tensor(np.ascontiguousarray(np.argwhere(input.array)))
