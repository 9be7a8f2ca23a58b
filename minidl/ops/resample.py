"""A constant sparse matrix along an axis: interpolation, and padding by the image's own values."""

import math
from functools import lru_cache

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op, empty


class Resample(Op):
    """Linear combinations of slices along one axis, by a sparse matrix M that is no variable.

        out[..., o, ...] = sum_t M[o, t] x[..., t, ...]
        dx[..., t, ...]  = sum_o M[o, t] dout[..., o, ...]

    The rule makes M; see `matrix`. It interpolates (Keys 1981, "Cubic convolution interpolation",
    for bicubic) or pads: several axes are resampled one after another. transposed: by M's
    transpose instead, which is the gradient.

    Shapes: x (..., T, ...), out (..., O, ...), M (O, T).
    """

    @staticmethod
    def forward(x, *, axis, rule, transposed):
        starts, ids, weights = _parts(rule, transposed, x.dtype.char)
        if not transposed and rule[0] in _COPIES and x.dtype.kind != "f":
            return x.take(ids, axis), ()
        wide = (math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))
        out = empty((wide[0], len(starts) - 1, wide[2]), x.dtype)
        run = _math.suited(kernels.resample, out)
        run(np.ascontiguousarray(x).reshape(wide), starts, ids, weights, out)
        return out.reshape(*x.shape[:axis], len(starts) - 1, *x.shape[axis + 1 :]), ()

    @staticmethod
    def backward(dout, saved, needs, *, axis, rule, transposed):
        return (_math.applied(Resample, dout, axis=axis, rule=rule, transposed=not transposed),)


@lru_cache(maxsize=256)
def _parts(rule, transposed, code):
    """(starts, ids, weights) of the rows of a rule's matrix, with weights of a dtype."""
    rows, columns, weights, shape = matrix(rule)
    if transposed:
        rows, columns, shape = columns, rows, shape[::-1]
        order = np.argsort(rows, kind="stable")
        rows, columns, weights = rows[order], columns[order], weights[order]
    starts = np.zeros(shape[0] + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=shape[0]), out=starts[1:])
    return starts, columns, weights.astype(code)


_COPIES = ("nearest", "nearest-exact", "reflect", "replicate", "circular")


def matrix(rule):
    """(rows, columns, weights, shape) of a matrix (O, T), ordered by row.

    rule: ("reflect" or "replicate" or "circular", T, before, after) for padding;
    (mode, T, O, scale, align) for interpolation, where mode is nearest, nearest-exact, linear,
    cubic or area, scale the inputs a step of the output makes, and align joins the ends' centres;
    ("linear-aa" or "cubic-aa", ...) with a filter as wide as the step, against aliasing.
    """
    kind, size = rule[:2]
    if kind in ("reflect", "replicate", "circular"):
        ids = np.arange(-rule[2], size + rule[3])
        if kind == "replicate":
            ids = ids.clip(0, size - 1)
        elif kind == "circular":
            ids = ids % size
        else:
            ids = np.abs(ids)
            ids = np.where(ids >= size, 2 * (size - 1) - ids, ids)
        return np.arange(len(ids)), ids, np.ones(len(ids)), (len(ids), size)
    _, _, count, scale, align = rule
    o = np.arange(count)
    if kind in ("nearest", "nearest-exact"):
        centre = o + (0.5 if kind == "nearest-exact" else 0.0)
        ids = np.floor(centre.astype(np.float32) * np.float32(scale))  # float32, as PyTorch
        ids = np.minimum(ids.astype(np.int64), size - 1)
        return o, ids, np.ones(count), (count, size)
    if kind == "area":
        starts, stops = o * size // count, -(-(o + 1) * size // count)
        return _dense(starts, [np.full(e - s, 1 / (e - s)) for s, e in zip(starts, stops)], size)
    if kind in ("linear-aa", "cubic-aa"):
        return _filtered(kind, size, count, scale)
    place = o * scale if align else (o + 0.5) * scale - 0.5
    if kind == "linear":
        place = np.maximum(place, 0)
        taps = np.arange(2)
    else:
        taps = np.arange(-1, 3)
    first = np.floor(place)
    ids = first[:, None] + taps
    distance = np.abs(place[:, None] - ids)
    weights = 1 - distance if kind == "linear" else _cubic(distance, -0.75)
    ids = ids.clip(0, size - 1).astype(np.int64)
    rows = np.repeat(o, len(taps))
    return rows, ids.reshape(-1), weights.reshape(-1), (count, size)


def _cubic(distance, a):
    """Keys's kernel; a = -0.75 as in PyTorch, -0.5 in his paper and against aliasing."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def _filtered(kind, size, count, scale):
    """As PIL: a filter stretched to the step, cut at the ends and brought to sum 1."""
    reach = (1.0 if kind == "linear-aa" else 2.0) * max(scale, 1.0)
    starts, weights = [], []
    for o in range(count):
        centre = scale * (o + 0.5)
        start = max(int(centre - reach + 0.5), 0)
        stop = min(int(centre + reach + 0.5), size)
        distance = np.abs(np.arange(start, stop) + 0.5 - centre) / max(scale, 1.0)
        linear = np.maximum(1 - distance, 0)
        row = linear if kind == "linear-aa" else _cubic(distance, -0.5)
        starts.append(start)
        weights.append(row / row.sum())
    return _dense(starts, weights, size)


def _dense(starts, weights, size):
    """Rows of consecutive columns."""
    rows = np.repeat(np.arange(len(weights)), [len(w) for w in weights])
    ids = np.concatenate([s + np.arange(len(w)) for s, w in zip(starts, weights)])
    return rows, ids.astype(np.int64), np.concatenate(weights), (len(weights), size)
