"""Parts of an array that share its memory, and arrays in which such a part is overwritten.

A part is written as a path: a tuple of (view op, settings as sorted pairs), from the array to it.
"""

import numpy as np

from minidl.ops import _math
from minidl.ops.shape import Copy


class Slice(Copy):
    """Basic indexing: whole numbers, slices, new axes and the ellipsis, without copying.

        out = x[key];   dx = zeros, but dx[key] = dout

    key: a tuple of int, (start, stop, step), None and Ellipsis.
    Shapes: as NumPy's indexing; a whole number takes its axis away.
    """

    saves = ("shape",)
    view = True

    @staticmethod
    def forward(x, *, key):
        return x[place_of(key)], (x.shape,)

    @staticmethod
    def backward(dout, saved, needs, *, key):
        (shape,) = saved
        return (_math.put_view(dout, ((Slice, (("key", key),)),), shape),)


def place_of(key):
    """What NumPy takes as index. With the ellipsis a single element is a view as well."""
    place = tuple([slice(*k) if type(k) is tuple else k for k in key])
    return place if Ellipsis in place else (*place, Ellipsis)


class Diagonal(Copy):
    """The elements whose index in axis `second` is that in axis `first` plus `offset`; a view.

        out[..., i] = x[..., i - min(offset, 0), ..., i + max(offset, 0), ...]
        dx = zeros, with dout on that diagonal

    Shapes: x with both axes; out without them, and the diagonal as its last axis.
    """

    saves = ("shape",)
    view = True

    @staticmethod
    def forward(x, *, offset, first, second):
        out = x.diagonal(offset, first, second)
        if x.flags.writeable:
            out.flags.writeable = True  # NumPy gives a read-only one
        return out, (x.shape,)

    @staticmethod
    def backward(dout, saved, needs, *, offset, first, second):
        (shape,) = saved
        settings = (("first", first), ("offset", offset), ("second", second))
        return (_math.put_view(dout, ((Diagonal, settings),), shape),)


class Unfold(Copy):
    """Windows of `size` elements, `step` apart, along an axis; a view in which they overlap.

        out[..., i, ..., j] = x[..., i * step + j, ...];   dx = dout, added up at its places

    Shapes: x (..., T, ...); out (..., (T - size) // step + 1, ..., size).
    """

    saves = ("shape",)
    view = True

    @staticmethod
    def forward(x, *, axis, size, step):
        windows = np.lib.stride_tricks.sliding_window_view(x, size, axis)
        every = (slice(None),) * axis + (slice(None, None, step),)
        return windows[every], (x.shape,)

    @staticmethod
    def backward(dout, saved, needs, *, axis, size, step):
        (shape,) = saved
        places = np.arange(np.prod(shape, dtype=np.int64)).reshape(shape)
        places, _ = Unfold.forward(places, axis=axis, size=size, step=step)
        return (_math.add_flat(dout, places, shape),)


class Sections(Copy):
    """All parts of an array along an axis, one after another: as one op, for one gradient.

        out_i = the next sizes[i] slices of x;   dx = [dout_0, dout_1, ...], 0 for an unused one

    single: each part is one slice, without the axis. The parts are views.
    Shapes: x (..., T, ...); out_i (..., sizes[i], ...), or (..., ...) if single.
    """

    saves = ("shape",)

    @staticmethod
    def forward(x, *, axis, sizes, single):
        before, start, parts = (slice(None),) * axis, 0, []
        for size in sizes:
            place = start if single else slice(start, start + size)
            parts.append(x[(*before, place, ...)])
            start += size
        return tuple(parts), (x.shape,)

    @staticmethod
    def backward(dout, saved, needs, *, axis, sizes, single):
        (shape,) = saved
        dtype = next(d.dtype for d in dout if d is not None)
        parts = []
        for i, size in enumerate(sizes):
            wide = (*shape[:axis], size, *shape[axis + 1 :])
            part = dout[i] if i < len(dout) else None
            if part is None:
                part = np.broadcast_to(dtype.type(0), wide)
            parts.append(part.reshape(wide) if single else part)
        whole = _joined(parts, axis)
        return (_math.concat(parts, axis) if whole is None else whole,)


def _joined(parts, axis):
    """The array of which the parts are equal slices that lie one behind the other, or None.

    An op whose gradients are parts of one array (attention's dq, dk, dv) so saves their copies.
    """
    first = parts[0]
    if type(first) is not np.ndarray or first.base is None or not first.size or len(parts) < 2:
        return None
    places = []
    for part in parts:
        same = type(part) is np.ndarray and part.base is first.base
        if not same or part.shape != first.shape or part.strides != first.strides:
            return None
        places.append(part.__array_interface__["data"][0])
    step = places[1] - places[0]
    size = first.shape[axis]
    if step <= 0 or places != list(range(places[0], places[0] + step * len(parts), step)):
        return None
    if size > 1 and step != size * first.strides[axis]:
        return None
    shape, strides = list(first.shape), list(first.strides)
    shape[axis], strides[axis] = size * len(parts), step if size == 1 else first.strides[axis]
    return np.lib.stride_tricks.as_strided(first, shape, strides)


class PutView(Copy):
    """Zeros, but for one part.

        out = zeros, but part(out) = x;   dx = part(dout)

    Shapes: x as the part at the end of `path`; out has the given shape.
    """

    @staticmethod
    def forward(x, *, path, shape):
        return _math.put_view(x, path, shape), ()

    @staticmethod
    def backward(dout, saved, needs, *, path, shape):
        return (_math.part_of(dout, path),)


class ZeroView(Copy):
    """x with one part set to 0.

        out = x, but part(out) = 0;   dx = dout, but 0 in the part

    Shapes: out as x.
    """

    @staticmethod
    def forward(x, *, path):
        return _math.zero_view(x, path), ()

    @staticmethod
    def backward(dout, saved, needs, *, path):
        return (_math.zero_view(dout, path),)


class WriteView(Copy):
    """x with one part overwritten: what a change through a view does to the tensor it looks at.

        out = x, but part(out) = value;   dx = dout, but 0 in the part;   dvalue = part(dout)

    Shapes: out as x, value as the part.
    """

    @staticmethod
    def forward(x, value, *, path):
        out = np.array(x, order="C")
        _math.write_part(out, path, value)
        return out, ()

    @staticmethod
    def backward(dout, saved, needs, *, path):
        dx = _math.zero_view(dout, path) if needs[0] else None
        return dx, _math.part_of(dout, path) if needs[1] else None
