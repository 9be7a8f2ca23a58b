"""Activation functions, and softmax with its relatives."""

import math

import numpy as np

import minidl.functional as F
from minidl._tensor import Tensor
from minidl.functional import activation as nnf
from minidl.onnx.node import NodeView, axis_of, constant, is_float, operator, same

_PLAIN = {
    "Mish": nnf.mish, "Sigmoid": nnf.sigmoid, "Softplus": nnf.softplus, "Softsign": nnf.softsign,
    "Tanh": nnf.tanh,
}  # fmt: skip


@operator(*_PLAIN)
def plain(node, x):
    return _PLAIN[node.op](x)


@operator("Relu")
def relu(node, x):
    return nnf.relu(x) if is_float(x) else constant(np.maximum(x.array, 0), x.dtype)


@operator("LeakyRelu")
def leaky_relu(node, x):
    return nnf.leaky_relu(x, node.get("alpha", 0.01))


@operator("PRelu")
def prelu(node, x, slope):
    if is_float(x):
        return F.where(Tensor(x.array < 0), x * slope, x)
    return constant(np.where(x.array < 0, x.array * slope.array, x.array), x.dtype)


@operator("Elu")
def elu(node, x):
    return nnf.elu(x, node.get("alpha", 1.0))


@operator("Selu")
def selu(node, x):
    alpha = node.get("alpha", 1.67326319217681884765625)
    return nnf.elu(x, alpha) * node.get("gamma", 1.05070102214813232421875)


@operator("Celu")
def celu(node, x):
    return nnf.celu(x, node.get("alpha", 1.0))


@operator("Gelu")
def gelu(node, x):
    return nnf.gelu(x, node.get("approximate", "none"))


@operator("Swish")
def swish(node, x):
    alpha = node.get("alpha", 1.0)
    return nnf.silu(x) if alpha == 1 else x * F.sigmoid(x * alpha)


@operator("HardSigmoid")
def hard_sigmoid(node, x):
    return F.clamp(x * node.get("alpha", 0.2) + node.get("beta", 0.5), 0.0, 1.0)


@operator("HardSwish")
def hard_swish(node, x):
    return nnf.hardswish(x)


@operator("ThresholdedRelu")
def thresholded_relu(node, x):
    return nnf.threshold(x, node.get("alpha", 1.0), 0.0)


@operator("Shrink")
def shrink(node, x):
    """x drawn towards 0 by `bias` outside [-lambd, lambd], and 0 within."""
    bias, edge = node.get("bias", 0.0), node.get("lambd", 0.5)
    a = x.array
    move = np.where(a < -edge, bias, np.where(a > edge, -bias, 0))
    outside = (a < -edge) | (a > edge)
    if not is_float(x):
        return constant(np.where(outside, a + move, 0), x.dtype)
    return F.masked_fill(x + constant(move, x.dtype), Tensor(~outside), 0.0)


def _rows(node: NodeView, x: Tensor, function):
    """Along an axis; before opset 13 over all axes from it on, flattened."""
    if not x.ndim or not x.array.size:
        return same(x)
    if node.version >= 13:
        return function(x, axis_of(node.get("axis", -1), x.ndim, node))
    axis = axis_of(node.get("axis", 1), x.ndim, node)
    flat = x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
    return function(flat, 1).reshape(x.shape)


@operator("Softmax")
def softmax(node, x):
    return _rows(node, x, F.softmax)


@operator("LogSoftmax")
def log_softmax(node, x):
    return _rows(node, x, F.log_softmax)


@operator("Hardmax")
def hardmax(node, x):
    """1 at the first of the largest, 0 elsewhere."""

    def function(x, axis):
        best = np.expand_dims(x.array.argmax(axis), axis)
        out = np.zeros(x.shape, x.dtype)
        np.put_along_axis(out, best, 1, axis)
        return Tensor(out)

    return _rows(node, x, function)


@operator("Dropout")
def dropout(node, x, ratio=None, training=None):
    """The identity in inference; in training an element is kept with probability 1 - ratio."""
    p = node.get("ratio", 0.5) if ratio is None else float(ratio.array)
    active = training is not None and bool(training.array)
    if not active or p == 0:
        return same(x), constant(np.ones(x.shape, bool))
    from minidl.random import default_generator

    seed = node.get("seed")
    generator = default_generator if seed is None else np.random.default_rng(int(seed))
    keep = generator.random(x.shape) >= p
    scale = 1 / (1 - p) if p < 1 else 0.0
    return x * constant(keep * scale, x.dtype), Tensor(keep)
