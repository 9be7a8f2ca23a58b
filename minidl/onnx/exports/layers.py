"""Affine maps, convolution, pooling, resampling, normalisation, attention."""

import numpy as np

from minidl.onnx.builder import ExportError, exports
from minidl.onnx.symbols import Size, Unknown


@exports("Linear")
def linear(graph, call):
    x, weight = call.name(0), call.name(1)
    bias = call.name(2) if call.has(2) else None
    if call.ndim() == 2:
        return graph.add("Gemm", x, weight, bias, transB=1)
    out = graph.add("MatMul", x, graph.add("Transpose", weight, perm=[1, 0]))
    return out if bias is None else graph.add("Add", out, bias)


@exports("LinearRelu")
def linear_relu(graph, call):
    return graph.add("Relu", linear(graph, call))


def _optional(call, i):
    return call.name(i) if call.has(i) else None


@exports("Conv")
def conv(graph, call):
    return graph.add(
        "Conv", call.name(0), call.name(1), _optional(call, 2), strides=list(call.stride),
        pads=[*call.padding, *call.padding], dilations=list(call.dilation), group=call.groups,
    )  # fmt: skip


@exports("ConvTranspose")
def conv_transpose(graph, call):
    """`size` may be longer than the smallest of the sizes that fit: by output_padding."""
    kernel = call.shape(1)[2:]
    runs = []
    for trace, step in zip(graph.traces, call.steps):
        sizes = trace.shape(step.inputs[0])[2:]
        parts = zip(step.settings["size"], sizes, call.stride, call.padding, call.dilation, kernel)
        runs.append(
            [m - ((n - 1) * s - 2 * p + d * (k - 1) + 1) for m, n, s, p, d, k in parts]
        )  # fmt: skip
    if any(run != runs[0] for run in runs):
        raise ExportError("export: ConvTranspose with an output size that is not its input's")
    return graph.add(
        "ConvTranspose", call.name(0), call.name(1), _optional(call, 2), strides=list(call.stride),
        pads=[*call.padding, *call.padding], dilations=list(call.dilation), group=call.groups,
        output_padding=runs[0],
    )  # fmt: skip


def _ceils(graph, call, counts, kernel, stride, padding, dilation) -> bool:
    """Whether windows that hang over the end are counted: more windows than fit whole."""
    more = False
    for trace, step, count in zip(graph.traces, call.steps, counts):
        sizes = trace.shape(step.inputs[0])[2:]
        for m, n, k, s, p, d in zip(count, sizes, kernel, stride, padding, dilation):
            more |= m > (n + 2 * p - d * (k - 1) - 1) // s + 1
    return more


@exports("MaxPool")
def max_pool(graph, call):
    rule = (call.kernel, call.stride, call.padding, call.dilation)
    ceil = _ceils(graph, call, [s.settings["size"] for s in call.steps], *rule)
    return graph.add(
        "MaxPool", call.name(0), kernel_shape=list(call.kernel), strides=list(call.stride),
        pads=[*call.padding, *call.padding], dilations=list(call.dilation), ceil_mode=int(ceil),
    )  # fmt: skip


@exports("AvgPool")
def avg_pool(graph, call):
    x, sizes, rules = call.name(0), call.shape()[2:], call.rules
    if call.divisor is not None:
        raise ExportError("export: avg_pool with divisor_override has no ONNX operator")
    if all(rule[0] == "adaptive" for rule in rules):
        if all(rule[1] == 1 for rule in rules):
            return graph.add("GlobalAveragePool", x)
        _fixed(sizes)
        if any(n % rule[1] for n, rule in zip(sizes, rules)):
            return _shares(graph, call, x)
        parts = [n // rule[1] for n, rule in zip(sizes, rules)]
        return graph.add("AveragePool", x, kernel_shape=parts, strides=parts)
    kernel, stride, padding, whole = zip(*[rule[2:] for rule in rules])
    sizes_out = [[rule[1] for rule in step.settings["rules"]] for step in call.steps]
    ceil = _ceils(graph, call, sizes_out, kernel, stride, padding, [1] * len(kernel))
    return graph.add(
        "AveragePool", x, kernel_shape=list(kernel), strides=list(stride),
        pads=[*padding, *padding], count_include_pad=int(whole[0]), ceil_mode=int(ceil),
    )  # fmt: skip


def _fixed(sizes):
    if any(isinstance(n, (Size, Unknown)) for n in sizes):
        raise ExportError("export: adaptive pooling of a dynamic axis to several; leave it fixed")


def _shares(graph, call, x):
    """Windows of unequal lengths: along each axis a product with a matrix of their shares."""
    from minidl.ops.pool import windows

    for axis, (size, rule) in enumerate(zip(call.shape()[2:], call.rules), start=2):
        matrix = np.zeros((size, rule[1]), call.dtype(0))
        for i, (start, stop, length) in enumerate(zip(*windows(size, rule))):
            matrix[start:stop, i] = 1 / length
        x = _along(graph, x, matrix, axis, call.ndim())
    return x


def _along(graph, x, matrix, axis, ndim):
    """x times a matrix along an axis."""
    axes = list(range(ndim))
    axes[axis], axes[-1] = axes[-1], axes[axis]
    return graph.transpose(graph.add("MatMul", graph.transpose(x, axes), matrix), axes)


@exports("adaptive_max_pool")
def adaptive_max_pool(graph, call):
    """Windows of unequal lengths: along each axis the maxima of its parts, side by side."""
    from minidl.ops.pool import windows

    x, sizes = call.name(0), call.shape()[2:]
    _fixed(sizes)
    for axis, (size, count) in enumerate(zip(sizes, call.size), start=2):
        parts = []
        where = np.array([axis])
        for start, stop, _ in zip(*windows(size, ("adaptive", count))):
            part = graph.add("Slice", x, np.array([start]), np.array([stop]), where)
            parts.append(graph.reduce("ReduceMax", part, [axis], 1))
        x = graph.add("Concat", *parts, axis=axis)
    return x


@exports("Im2Col")
def im2col(graph, call):
    """A convolution whose kernels pick one tap each."""
    channels, kernel = call.shape()[1], call.kernel
    taps = int(np.prod(kernel))
    weight = np.tile(np.eye(taps), (channels, 1)).reshape(channels * taps, 1, *kernel)
    out = graph.add(
        "Conv", call.name(0), weight.astype(call.dtype(0)), strides=list(call.stride),
        pads=[*call.padding, *call.padding], dilations=list(call.dilation), group=channels,
    )  # fmt: skip
    return graph.add("Reshape", out, np.array([0, 0, -1]))


@exports("Col2Im")
def col2im(graph, call):
    if graph.opset < 18:
        raise ExportError("export: fold needs opset_version 18 or later")
    return graph.add(
        "Col2Im", call.name(0), graph.sizes(call.size),
        np.array(call.kernel), strides=list(call.stride), dilations=list(call.dilation),
        pads=[*call.padding, *call.padding],
    )  # fmt: skip


@exports("Resample")
def resample(graph, call):
    """A product with the matrix of the rule; a choice of places where that is all it does."""
    from minidl.ops.resample import matrix

    rule, axis = call.rule, call.axis
    if any(isinstance(part, (Size, Unknown)) for part in rule):
        raise ExportError("export: interpolation over a dynamic axis; leave the spatial axes fixed")
    rows, columns, weights, shape = matrix(rule)
    if not call.transposed and len(rows) == shape[0] and (weights == 1).all():
        return graph.add("Gather", call.name(0), np.asarray(columns, np.int64), axis=axis)
    dense = np.zeros(shape, call.dtype(0))
    np.add.at(dense, (rows, columns), weights)
    dense = dense if call.transposed else dense.T
    return _along(graph, call.name(0), np.ascontiguousarray(dense), axis, call.ndim())


@exports("LayerNorm")
def layer_norm(graph, call):
    return graph.add("LayerNormalization", *call.names(), axis=-1, epsilon=call.eps)


@exports("RMSNorm")
def rms_norm(graph, call):
    x, weight = call.names()
    if graph.opset >= 23:
        return graph.add("RMSNormalization", x, weight, axis=-1, epsilon=call.eps)
    mean = graph.reduce("ReduceMean", graph.add("Mul", x, x), [call.ndim() - 1], 1)
    root = graph.add("Sqrt", graph.add("Add", mean, np.asarray(call.eps, call.dtype(0))))
    return graph.add("Mul", graph.add("Div", x, root), weight)


@exports("UnitRows")
def unit_rows(graph, call):
    x = call.name(0)
    length = graph.reduce("ReduceL2", x, [call.ndim() - 1], 1)
    return graph.add("Div", x, graph.add("Max", length, np.asarray(call.eps, call.dtype(0))))


@exports("ChannelAffine")
def channel_affine(graph, call):
    """BatchNormalization with variance 1: what is left of it outside training."""
    x, centre, scale, shift = call.names()
    ones = np.ones(call.shape(1), call.dtype(0))
    return graph.add("BatchNormalization", x, scale, shift, centre, ones, epsilon=0.0)


@exports("BatchNorm")
def batch_norm(graph, call):
    """With the batch's own statistics: layers that keep none use them outside training too."""
    x, weight, bias = call.names()
    axes = [0, *range(2, call.ndim())]

    mean = graph.reduce("ReduceMean", x, axes, 1)
    centred = graph.add("Sub", x, mean)
    var = graph.reduce("ReduceMean", graph.add("Mul", centred, centred), axes, 1)
    root = graph.add("Sqrt", graph.add("Add", var, np.asarray(call.eps, call.dtype(0))))
    beside = np.array([-1, *[1] * (call.ndim() - 2)])
    out = graph.add("Div", centred, root)
    out = graph.add("Mul", out, graph.add("Reshape", weight, beside))
    out = graph.add("Add", out, graph.add("Reshape", bias, beside))
    return (out, *[graph.add("Reshape", s, np.array([-1])) for s in (mean, var)])


@exports("GroupNorm")
def group_norm(graph, call):
    x, weight, bias = call.names()
    groups, shape, dtype = call.groups, call.shape(), call.dtype(0)
    rows = graph.add("Reshape", x, np.array([0, groups, -1]))
    ones, zeros = np.ones(groups, dtype), np.zeros(groups, dtype)
    rows = graph.add("InstanceNormalization", rows, ones, zeros, epsilon=call.eps)
    out = graph.add("Reshape", rows, graph.add("Shape", x))
    beside = np.array([-1, *[1] * (len(shape) - 2)])
    out = graph.add("Mul", out, graph.add("Reshape", weight, beside))
    return graph.add("Add", out, graph.add("Reshape", bias, beside))


@exports("ScaledDotProductAttention")
def attention(graph, call):
    """Products and a softmax; a row that may look nowhere gives 0, as in minidl."""
    names = [call.name(i) for i in range(3)]
    return _attend(graph, call, names, call.ndim(1), 3, (call.shape(0)[-2], call.shape(1)[-2]))


@exports("PackedAttention")
def packed_attention(graph, call):
    """The same, on heads cut out of one array (B, T, 3 H d)."""
    width = call.shape(0)[-1] // (3 * call.heads)
    parts = graph.add("Reshape", call.name(0), np.array([0, 0, 3, call.heads, width]))
    names = [
        graph.transpose(graph.add("Gather", parts, np.array(i), axis=2), [0, 2, 1, 3])
        for i in range(3)
    ]
    out = _attend(graph, call, names, 4, 1, (call.shape(0)[1], call.shape(0)[1]))
    return graph.add(
        "Reshape", graph.transpose(out, [0, 2, 1, 3]), np.array([0, 0, call.heads * width])
    )


def _attend(graph, call, names, ndim, mask, lengths):
    q, k, v = names
    dtype = call.dtype(0)
    if call.dropout_p:
        raise ExportError("export: attention with dropout is random; call model.eval() first")
    axes = list(range(ndim))
    axes[-2:] = axes[-1], axes[-2]
    scores = graph.add("MatMul", q, graph.transpose(k, axes))
    scores = graph.add("Mul", scores, np.asarray(call.scale, dtype))
    hidden = np.asarray(-np.inf, dtype)
    masked = call.has(mask) or call.causal
    if call.has(mask):
        if call.dtype(mask).kind == "b":
            scores = graph.add("Where", call.name(mask), scores, hidden)
        else:
            scores = graph.add("Add", scores, call.name(mask))
    if call.causal:
        rows = graph.add("Unsqueeze", graph.line(lengths[0]), np.array([1]))
        seen = graph.add("LessOrEqual", graph.line(lengths[1]), rows)
        scores = graph.add("Where", seen, scores, hidden)
    share = graph.add("Softmax", scores, axis=-1)
    if masked:
        share = graph.add("Where", graph.add("IsNaN", share), np.asarray(0, dtype), share)
    return graph.add("MatMul", share, v)
