"""Arithmetic, functions of one number, comparisons, logic, casts."""

import functools
import math
from typing import Any

import numpy as np

import minidl.functional as F
from minidl import linalg
from minidl._tensor import Tensor
from minidl.onnx.node import (
    constant,
    dtype_of,
    is_float,
    operator,
    same,
    to_dtype,
)


def _quotient(x: Any, y: Any) -> Any:
    """Whole numbers divided, rounded towards 0."""
    if x.dtype.kind == "u":
        return x // y
    out = np.abs(x) // np.abs(y)
    return np.where((x < 0) ^ (y < 0), -out, out).astype(x.dtype)


_BINARY: dict[str, tuple[Any, Any]] = {
    "Add": (F.add, np.add),
    "Sub": (F.sub, np.subtract),
    "Mul": (F.mul, np.multiply),
    "Div": (F.div, _quotient),
    "Max": (F.maximum, np.maximum),
    "Min": (F.minimum, np.minimum),
    "Sum": (F.add, np.add),
}


@operator(*_BINARY)
def binary(node, *inputs):
    smooth, whole = _BINARY[node.op]
    if len(inputs) == 1:
        return same(inputs[0])
    if is_float(*inputs):
        return functools.reduce(smooth, inputs)
    with np.errstate(all="ignore"):
        return constant(functools.reduce(whole, [x.array for x in inputs]))


@operator("Mean")
def mean(node, *inputs):
    return functools.reduce(F.add, inputs) / float(len(inputs))


@operator("Pow")
def power(node, x, y):
    if is_float(x):
        return F.pow(x, to_dtype(y, x.dtype))
    with np.errstate(all="ignore"):
        if y.dtype.kind == "f":
            return constant(np.power(x.array.astype(y.dtype), y.array), x.dtype)
        wide = np.power(x.array.astype(np.int64), y.array.astype(np.int64))
        return constant(wide, x.dtype)


@operator("Mod")
def modulo(node, x, y):
    function = np.fmod if node.get("fmod", 0) else np.mod
    if is_float(x):
        return (F.fmod if node.get("fmod", 0) else F.remainder)(x, y)
    return constant(function(x.array, y.array), x.dtype)


_UNARY = {
    "Acos": F.acos, "Acosh": F.acosh, "Asin": F.asin, "Asinh": F.asinh, "Atan": F.atan,
    "Atanh": F.atanh, "Ceil": F.ceil, "Cos": F.cos, "Cosh": F.cosh, "Erf": F.erf, "Exp": F.exp,
    "Floor": F.floor, "Identity": same, "Log": F.log, "Reciprocal": F.reciprocal, "Round": F.round,
    "Sin": F.sin, "Sinh": F.sinh, "Sqrt": F.sqrt, "Tan": F.tan,
}  # fmt: skip
_SIGNED = {
    "Abs": (F.abs, np.abs),
    "Neg": (F.neg, np.negative),
    "Sign": (F.sign, np.sign),
}


@operator(*_UNARY)
def unary(node, x):
    return _UNARY[node.op](x)


@operator(*_SIGNED)
def signed(node, x):
    smooth, whole = _SIGNED[node.op]
    return smooth(x) if is_float(x) else constant(whole(x.array), x.dtype)


_COMPARISONS = {
    "And": np.logical_and, "Equal": np.equal, "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal, "Less": np.less, "LessOrEqual": np.less_equal,
    "Or": np.logical_or, "Xor": np.logical_xor, "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
}  # fmt: skip


@operator(*_COMPARISONS)
def compare(node, x, y):
    return constant(_COMPARISONS[node.op](x.array, y.array))


@operator("BitShift")
def bit_shift(node, x, y):
    left = node.get("direction") == "LEFT"
    return constant((np.left_shift if left else np.right_shift)(x.array, y.array))


@operator("Not", "BitwiseNot", "IsNaN")
def test(node, x):
    functions = {"Not": np.logical_not, "BitwiseNot": np.bitwise_not, "IsNaN": np.isnan}
    return constant(functions[node.op](x.array))


@operator("IsInf")
def is_inf(node, x):
    out = np.zeros(x.shape, bool)
    if node.get("detect_positive", 1):
        out |= np.isposinf(x.array)
    if node.get("detect_negative", 1):
        out |= np.isneginf(x.array)
    return constant(out)


@operator("Clip")
def clip(node, x, low=None, high=None):
    if node.version < 11:
        edges = [constant(node.get(k), x.dtype) if k in node.attributes else None
                 for k in ("min", "max")]  # fmt: skip
        low, high = edges
    for edge, smooth, whole in ((low, F.maximum, np.maximum), (high, F.minimum, np.minimum)):
        if edge is not None:
            x = smooth(x, edge) if is_float(x) else constant(whole(x.array, edge.array), x.dtype)
    return x if isinstance(x, Tensor) and (low or high) is not None else same(x)


@operator("Where")
def where(node, condition, x, y):
    if is_float(x):
        return F.where(condition, x, y)
    return constant(np.where(condition.array, x.array, y.array))


@operator("Cast")
def cast(node, x):
    return _cast(x, dtype_of(node.get("to")))


@operator("CastLike")
def cast_like(node, x, like):
    return _cast(x, like.dtype)


def _cast(x: Tensor, dtype: np.dtype) -> Tensor:
    with np.errstate(all="ignore"):
        return to_dtype(x, dtype)


@operator("Einsum")
def einsum(node, *inputs):
    return F.einsum(node.get("equation"), *inputs)


@operator("Det")
def det(node, x):
    return linalg.det(x)


@operator("MatMul")
def matmul(node, x, y):
    if is_float(x):
        return F.matmul(x, y)
    return constant(np.matmul(x.array, y.array))


@operator("Gemm")
def gemm(node, x, y, z=None):
    """alpha x' y' + beta z, with x' and y' transposed if asked for."""
    x = x.swapaxes(0, 1) if node.get("transA", 0) else x
    y = y.swapaxes(0, 1) if node.get("transB", 0) else y
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    if not is_float(x):
        out = alpha * (x.array @ y.array) + (0 if z is None else beta * z.array)
        return constant(out, x.dtype)
    out = F.matmul(x, y)
    out = out if math.isclose(alpha, 1) else out * alpha
    if z is None:
        return out
    return out + (z if math.isclose(beta, 1) else z * beta)
