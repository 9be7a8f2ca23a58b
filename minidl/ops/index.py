"""Reading and writing elements by index."""

import numpy as np

from minidl.ops import _math
from minidl.ops._op import Op


class WriteView(Op):
    """A tensor with one of its views overwritten.

        out = x, but view(out) = value;   dx = dout, but 0 in the view;   dvalue = view(dout)

    places: the flat index in x of each element of the view. Shapes: out as x, value as places.
    """

    saves = ("places",)

    @staticmethod
    def forward(x, value, places):
        out = np.array(x)
        out.reshape(-1)[places.reshape(-1)] = value.reshape(-1)
        return out, (places,)

    @staticmethod
    def backward(dout, saved, needs):
        (places,) = saved
        dx = dvalue = None
        if needs[0]:
            keep = np.ones(dout.shape, bool)
            keep.reshape(-1)[places.reshape(-1)] = False
            dx = _math.masked(keep, dout)
        if needs[1]:
            dvalue = _math.take_flat(dout, places)
        return dx, dvalue, None


class TakeFlat(Op):
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


class AddFlat(Op):
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
