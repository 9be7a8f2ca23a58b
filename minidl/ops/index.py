"""Reading and writing elements by arrays of indices."""

import numpy as np

from minidl.ops import _math
from minidl.ops.shape import Copy


class TakeFlat(Copy):
    """Elements by their flat (row-major) index.

        out = x.flat[places];   dx = dout added up at its places

    Shapes: x any; places and out are equal.
    """

    saves = ("places", "shape")

    @staticmethod
    def forward(x, places):
        return x.reshape(-1)[places], (places, x.shape)

    @staticmethod
    def backward(dout, saved, needs):
        places, shape = saved
        return _math.add_flat(dout, _math.values(places), shape), None


class AddFlat(Copy):
    """Zeros, with elements added at flat places; a place may come more than once.

        out.flat[places] += x;   dx = dout.flat[places]

    Shapes: x and places are equal; out has the given shape.
    """

    saves = ("places",)

    @staticmethod
    def forward(x, places, *, shape):
        return _math.add_flat(x, places, shape), (places,)

    @staticmethod
    def backward(dout, saved, needs, *, shape):
        (places,) = saved
        return _math.take_flat(dout, _math.values(places)), None


class PutFlat(Copy):
    """x with elements overwritten at flat places; of several for one place the last wins.

        out = x, but out.flat[places] = value
        dx = dout, but 0 at the places;   dvalue = dout.flat[places], but 0 where a later one won

    Shapes: out as x; value and places are equal.
    """

    saves = ("places",)

    @staticmethod
    def forward(x, value, places):
        out = np.array(x, order="C")
        out.reshape(-1)[places.reshape(-1)] = value.reshape(-1)
        return out, (places,)

    @staticmethod
    def backward(dout, saved, needs):
        places = _math.values(saved[0])
        dx = dvalue = None
        if needs[0]:
            keep = np.ones(dout.shape, bool)
            keep.reshape(-1)[places.reshape(-1)] = False
            dx = _math.masked(keep, dout)
        if needs[1]:
            number = np.arange(places.size)
            last = np.empty(_size(dout.shape), np.int64)
            last[places.reshape(-1)] = number
            won = (last[places.reshape(-1)] == number).reshape(places.shape)
            dvalue = _math.take_flat(dout, places)
            if not won.all():
                dvalue = _math.masked(won, dvalue)
        return dx, dvalue, None


class TakeRows(Copy):
    """Slices along an axis by their number, which may count from the end.

        out = x[..., ids, ...];   dx[..., v, ...] = sum of dout[..., i, ...] over ids_i = v

    Shapes: x (..., V, ...), ids any; out has the axes of ids in the place of V.
    """

    saves = ("ids", "shape")

    @staticmethod
    def forward(x, ids, *, axis):
        return x.take(ids, axis), (ids, x.shape)

    @staticmethod
    def backward(dout, saved, needs, *, axis):
        ids, shape = saved
        ids = _math.values(ids)
        return _math.add_rows(dout, ids, axis, shape), None


class AddRows(Copy):
    """Zeros, with slices added along an axis by their number; a number may come more than once.

        out[..., ids_i, ...] += x[..., i, ...];   dx = dout[..., ids, ...]

    Shapes: x has the axes of ids in the place of out's axis; out has the given shape.
    """

    saves = ("ids",)

    @staticmethod
    def forward(x, ids, *, axis, shape):
        return _math.add_rows(x, ids, axis, shape), (ids,)

    @staticmethod
    def backward(dout, saved, needs, *, axis, shape):
        (ids,) = saved
        return _math.take_rows(dout, _math.values(ids), axis), None


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size
