"""Shapes, orders, parts, indices and reductions."""

from typing import Any

import numpy as np

from minidl.onnx.builder import ExportError, exports
from minidl.onnx.symbols import Size, Unknown


@exports("Reshape")
def reshape(graph, call):
    return graph.reshape(call.name(0), call.out_shape())


@exports("Expand")
def expand(graph, call):
    return graph.add("Expand", call.name(0), graph.sizes(call.out_shape()))


@exports("SwapAxes")
def swap_axes(graph, call):
    axes = list(range(call.ndim()))
    first, second = call.first, call.second
    axes[first], axes[second] = axes[second], axes[first]
    return graph.transpose(call.name(0), axes)


@exports("Permute")
def permute(graph, call):
    return graph.transpose(call.name(0), [a % call.ndim() for a in call.axes])


@exports("Cast")
def cast(graph, call):
    return graph.cast(call.name(0), call.steps[0].settings["dtype"])


@exports("Flip")
def flip(graph, call):
    axes = list(call.axes)
    return graph.add(
        "Slice",
        call.name(0),
        np.full(len(axes), -1),
        np.full(len(axes), np.iinfo(np.int64).min + 1),
        np.array(axes),
        np.full(len(axes), -1),
    )


@exports("Concat")
def concat(graph, call):
    return graph.add("Concat", *call.names(), axis=call.axis)


@exports("Slice")
def slice_(graph, call):
    """Basic indexing: slices and whole numbers as Slice, then axes away, then new axes."""
    x, ndim, key = call.name(0), call.ndim(), list(call.key)
    used = sum(k is not None and k is not Ellipsis for k in key)
    if Ellipsis not in key:
        key.append(Ellipsis)
    place = key.index(Ellipsis)
    key[place : place + 1] = [(None, None, None)] * (ndim - used)
    starts, ends, axes, steps, gone, new = [], [], [], [], [], []
    axis = out = 0
    for k in key:
        if k is None:
            new.append(out)
            out += 1
            continue
        if type(k) is tuple:
            start, stop, step = k
            if (start, stop, step) not in ((None, None, None), (0, None, None), (None, None, 1)):
                starts.append(0 if start is None else start)
                ends.append(np.iinfo(np.int64).max if stop is None else stop)
                axes.append(axis)
                steps.append(1 if step is None else step)
            out += 1
        else:
            starts.append(k)
            ends.append(_after(k))
            axes.append(axis)
            steps.append(1)
            gone.append(axis)
        axis += 1
    if axes:
        x = graph.add(
            "Slice", x, graph.sizes(starts), graph.sizes(ends), np.array(axes), np.array(steps)
        )
    if gone:
        x = graph.add("Squeeze", x, np.array(gone))
    if new:
        x = graph.add("Unsqueeze", x, np.array(new))
    return x if axes or gone or new else graph.add("Identity", x)


def _after(k: Any) -> Any:
    """The end of a slice of the one element k."""
    if isinstance(k, Size):
        return k._replace(offset=k.offset + 1, values=tuple(v + 1 for v in k.values))
    if isinstance(k, Unknown):
        return k
    return np.iinfo(np.int64).max if k == -1 else k + 1


@exports("Sections")
def sections(graph, call):
    sizes = call.sizes
    parts = graph.add(
        "Split", call.name(0), graph.sizes(sizes), axis=call.axis, outputs=len(sizes)
    )  # fmt: skip
    parts = parts if isinstance(parts, tuple) else (parts,)
    if call.single:
        parts = tuple(graph.add("Squeeze", p, np.array([call.axis])) for p in parts)
    return parts


@exports("TakeRows")
def take_rows(graph, call):
    return graph.add("Gather", call.name(0), call.name(1), axis=call.axis)


@exports("Embedding")
def embedding(graph, call):
    return graph.add("Gather", call.name(0), call.name(1), axis=0)


@exports("embedding_bag")
def embedding_bag(graph, call):
    """Bags of one size: the rows (B, N, D), reduced over N; `padding_idx` counts for nothing."""
    ids, weight, dtype = call.name(0), call.name(1), call.dtype(1)
    rows, mode, zero = graph.add("Gather", weight, ids, axis=0), call.mode, np.asarray(0, dtype)
    if call.has(2):
        rows = graph.add("Mul", rows, graph.add("Unsqueeze", call.name(2), np.array([2])))
    if call.padding_idx is None:
        op = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax"}[mode]
        return graph.reduce(op, rows, [1])
    padding = np.asarray(call.padding_idx % call.shape(1)[0], call.dtype(0))
    gone = graph.add("Unsqueeze", graph.add("Equal", ids, padding), np.array([2]))
    if mode == "max":
        rows = graph.add("Where", gone, np.asarray(-np.inf, dtype), rows)
        out = graph.reduce("ReduceMax", rows, [1])
        return graph.add("Where", graph.add("IsInf", out), zero, out)
    total = graph.reduce("ReduceSum", graph.add("Where", gone, zero, rows), [1])
    if mode == "sum":
        return total
    count = graph.reduce("ReduceSum", graph.cast(graph.add("Not", gone), dtype), [1])
    return graph.add("Div", total, graph.add("Max", count, np.asarray(1, dtype)))


@exports("TakeFlat")
def take_flat(graph, call):
    flat = graph.add("Reshape", call.name(0), np.array([-1]))
    return graph.add("Gather", flat, call.name(1), axis=0)


def _flat(graph, name):
    return graph.add("Reshape", name, np.array([-1]))


@exports("PutFlat")
def put_flat(graph, call):
    x, value, places = [_flat(graph, name) for name in call.names()]
    return graph.reshape(graph.add("ScatterElements", x, places, value), call.out_shape())


@exports("AddFlat")
def add_flat(graph, call):
    x, places = [_flat(graph, name) for name in call.names()]
    zeros = graph.add("Expand", np.zeros(1, call.dtype(0)), graph.sizes(call.out_shape()))
    out = graph.add("ScatterElements", _flat(graph, zeros), places, x, reduction="add")
    return graph.reshape(out, call.out_shape())


@exports("AddRows")
def add_rows(graph, call):
    if call.axis != 0 or call.ndim(1) != 1:
        raise ExportError("export: AddRows is written only for rows along the first axis")
    zeros = graph.add("Expand", np.zeros(1, call.dtype(0)), graph.sizes(call.out_shape()))
    ids = graph.add("Unsqueeze", call.name(1), np.array([1]))
    return graph.add("ScatterND", zeros, ids, call.name(0), reduction="add")


@exports("Pad")
def pad(graph, call):
    widths = [n for side in (0, 1) for n in [p[side] for p in call.pads]]
    return graph.add(
        "Pad", call.name(0), graph.sizes(widths), np.asarray(call.value, call.dtype(0))
    )


# reductions

_REDUCE = {"Sum": "ReduceSum", "Mean": "ReduceMean", "Amax": "ReduceMax", "Amin": "ReduceMin"}


@exports(*_REDUCE)
def reduce(graph, call):
    axes = None if call.dim is None else [d % call.ndim() for d in call.dim]
    op = _REDUCE[call.op]
    x = call.name(0)
    if op == "ReduceSum" and call.dtype(0).kind == "b":
        x = graph.cast(x, np.int64)
    return graph.reduce(op, x, axes, int(call.keepdim))


@exports("Prod", "LogSumExp")
def reduce_last(graph, call):
    op = "ReduceProd" if call.op == "Prod" else "ReduceLogSumExp"
    return graph.reduce(op, call.name(0), [call.ndim() - 1])


@exports("argmax", "argmin")
def arg(graph, call):
    op = "ArgMax" if call.op == "argmax" else "ArgMin"
    return graph.add(op, call.name(0), axis=call.dim, keepdims=int(call.keepdim))


@exports("max", "min")
def extreme(graph, call):
    """Values along an axis and their places."""
    op = call.op.capitalize()
    keep, axis = int(call.keepdim), call.dim
    places = graph.add(f"Arg{op}", call.name(0), axis=axis, keepdims=keep)
    return graph.reduce(f"Reduce{op}", call.name(0), [axis], keep), places


@exports("topk")
def topk(graph, call):
    largest = int(call.largest)
    return graph.add(
        "TopK", call.name(0), graph.size(call.k), axis=call.dim, largest=largest, outputs=2
    )


@exports("sort")
def sort(graph, call):
    axis, largest = call.dim, int(call.descending)
    count = graph.size(call.shape()[axis])
    return graph.add("TopK", call.name(0), count, axis=axis, largest=largest, outputs=2)


@exports("argsort")
def argsort(graph, call):
    return sort(graph, call)[1]


@exports("one_hot")
def one_hot(graph, call):
    values = np.array([0, 1], np.int64)
    return graph.add("OneHot", call.name(0), np.int64(call.num_classes), values, axis=-1)


@exports("scatter")
def scatter(graph, call):
    axis = call.dim % call.ndim()
    return graph.add("ScatterElements", *call.names(), axis=axis)


@exports("gather")
def gather(graph, call):
    """GatherElements; an index that is shorter in other axes takes the front part of x."""
    if call.shape(0) == call.shape(1):
        return graph.add("GatherElements", call.name(0), call.name(1), axis=call.dim)
    rest = [a for a in range(call.ndim()) if a != call.dim]
    ends = graph.sizes([call.shape(1)[a] for a in rest])
    front = graph.add("Slice", call.name(0), np.zeros(len(rest), np.int64), ends, np.array(rest))
    return graph.add("GatherElements", front, call.name(1), axis=call.dim)


@exports("CumSum")
def cumsum(graph, call):
    return graph.add("CumSum", call.name(0), np.int64(call.ndim() - 1), reverse=int(call.reverse))


@exports("Softmax", "LogSoftmax")
def softmax(graph, call):
    return graph.add(call.op, call.name(0), axis=-1)
