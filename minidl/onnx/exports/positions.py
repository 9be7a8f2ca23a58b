"""Tables that are made of a length alone: the graph makes them of the length that it gets."""

from typing import Any

import numpy as np

from minidl.functional.positions import alibi_slopes, relative_position_buckets
from minidl.onnx.builder import Graph, exports


def _angles(graph: Graph, count: Any, offset: int, width: int, base: float, dim: int) -> str:
    """(count, width / 2) in float64: position / base^(2 i / dim)."""
    line = graph.line(count)
    if offset:
        line = graph.add("Add", line, np.int64(offset))
    rates = float(base) ** (-np.arange(0, width, 2) / dim)
    column = graph.cast(graph.add("Unsqueeze", line, np.array([1])), np.float64)
    return graph.add("Mul", column, rates)


@exports("sinusoidal_positions")
def sinusoidal(graph, call):
    dim = call.dim
    angles = _angles(graph, call.length, call.offset, -(-dim // 2) * 2, call.base, dim)
    # the cosine is a sine a quarter turn on: not every runtime has a cosine of float64
    cos = graph.add("Sin", graph.add("Add", angles, np.float64(np.pi / 2)))
    pairs = [graph.add("Unsqueeze", x, np.array([2])) for x in (graph.add("Sin", angles), cos)]
    table = graph.add("Concat", *pairs, axis=2)
    table = graph.add("Reshape", table, np.array([0, -1]))
    if dim % 2:
        table = graph.add("Slice", table, np.array([0]), np.array([dim]), np.array([1]))
    return graph.cast(table, call.out_dtype())


@exports("rotary_tables")
def rotary(graph, call):
    angles = _angles(graph, call.length, 0, call.dim, call.base, call.dim)
    cos = graph.add("Sin", graph.add("Add", angles, np.float64(np.pi / 2)))
    return tuple(graph.cast(x, call.out_dtype()) for x in (cos, graph.add("Sin", angles)))


def _distances(graph: Graph, call: Any) -> str:
    """(L, S) int64: key - query."""
    queries = graph.line(call.queries)
    if call.offset:
        queries = graph.add("Add", queries, np.int64(call.offset))
    return graph.add("Sub", graph.line(call.keys), graph.add("Unsqueeze", queries, np.array([1])))


@exports("alibi_bias")
def alibi(graph, call):
    dtype = call.out_dtype()
    size = graph.cast(graph.add("Abs", _distances(graph, call)), dtype)
    return graph.add("Mul", size, -alibi_slopes(call.heads)[:, None, None].astype(dtype))


@exports("relative_position_buckets")
def relative_buckets(graph, call):
    """Looked up in a table by distance: from max_distance on the bucket stays the same."""
    far = call.max_distance
    settings = (call.num_buckets, far, call.bidirectional)
    table = relative_position_buckets(2 * far + 1, 2 * far + 1, *settings)[far]
    low, high = np.int64(-far), np.int64(far)
    place = graph.add("Add", graph.add("Clip", _distances(graph, call), low, high), high)
    return graph.add("Gather", table.astype(np.int64), place, axis=0)
