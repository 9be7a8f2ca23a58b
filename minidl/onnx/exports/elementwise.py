"""Functions of single numbers, arithmetic, comparisons, activations."""

import math
from typing import Any

import numpy as np

from minidl.onnx.builder import EXPORTS, exports

_SAME = {
    "Abs": "Abs", "Acos": "Acos", "Acosh": "Acosh", "Add": "Add", "Alias": "Identity",
    "Asin": "Asin", "Asinh": "Asinh", "Atan": "Atan", "Atanh": "Atanh", "Clone": "Identity",
    "Cos": "Cos", "Cosh": "Cosh", "Det": "Det", "Div": "Div", "Erf": "Erf", "Exp": "Exp",
    "Hardswish": "HardSwish", "Log": "Log", "MatMul": "MatMul", "Maximum": "Max", "Minimum": "Min",
    "Mul": "Mul", "Neg": "Neg", "Pow": "Pow", "Relu": "Relu", "Sigmoid": "Sigmoid", "Sin": "Sin",
    "Sinh": "Sinh", "Sqrt": "Sqrt", "Sub": "Sub", "Tan": "Tan", "Tanh": "Tanh", "Where": "Where",
    # comparisons and logic, which are no ops and come by their function's name
    "eq": "Equal", "ge": "GreaterOrEqual", "gt": "Greater", "isinf": "IsInf", "isnan": "IsNaN",
    "le": "LessOrEqual", "lt": "Less",
}  # fmt: skip
_LOGIC = {
    "bitwise_and": "And", "bitwise_not": "Not", "bitwise_or": "Or", "bitwise_xor": "Xor",
    "logical_and": "And", "logical_not": "Not", "logical_or": "Or", "logical_xor": "Xor",
}  # fmt: skip


def _same(graph, call):
    names = call.names()
    if call.op in ("eq", "ge", "gt", "le", "lt"):
        names = _one_dtype(graph, call)
    return graph.add(_SAME[call.op], *names)


for _name in _SAME:
    EXPORTS[_name] = _same


def _one_dtype(graph, call) -> list[str]:
    """Both operands of a comparison in the dtype that promotion gives them."""
    from minidl.dtypes import result_dtype

    sides = [call.steps[0].inputs[i] for i in range(2)]
    arrays = [graph.traces[0].arrays[s.id] if hasattr(s, "id") else s for s in sides]
    dtype = result_dtype(arrays)
    names = []
    for i, array in enumerate(arrays):
        name = call.name(i, dtype)
        stays = getattr(array, "dtype", dtype) == dtype
        names.append(name if stays else graph.cast(name, dtype))
    return names


@exports("ne")
def differs(graph, call):
    return graph.add("Not", graph.add("Equal", *_one_dtype(graph, call)))


@exports(*_LOGIC)
def logic(graph, call):
    names = []
    for i in range(call.count):
        name = call.name(i, np.bool_)
        names.append(name if call.dtype(i).kind == "b" else graph.cast(name, np.bool_))
    if call.op.startswith("bitwise") and call.dtype(0).kind != "b":
        op = {"And": "BitwiseAnd", "Or": "BitwiseOr", "Xor": "BitwiseXor", "Not": "BitwiseNot"}
        return graph.add(op[_LOGIC[call.op]], *call.names())
    return graph.add(_LOGIC[call.op], *names)


def _number(call, value: Any):
    return np.asarray(value, call.dtype(0))


@exports("Masked")
def masked(graph, call):
    x, keep = call.names()
    return graph.add("Where", keep, x, _number(call, 0))


@exports("Clamp")
def clamp(graph, call):
    low, high = [None if v is None else _number(call, v) for v in (call.low, call.high)]
    return graph.add("Clip", call.name(0), low, high)


@exports("Step")
def step(graph, call):
    x, name = call.name(0), call.steps[0].settings["name"]
    if name == "trunc":
        size = graph.add("Floor", graph.add("Abs", x))
        return graph.add("Mul", graph.add("Sign", x), size)
    places = call.steps[0].settings.get("decimals", 0)
    if name == "round" and places:
        scale = _number(call, 10.0**places)
        return graph.add("Div", graph.add("Round", graph.add("Mul", x, scale)), scale)
    return graph.add({"ceil": "Ceil", "floor": "Floor", "round": "Round", "sign": "Sign"}[name], x)


@exports("Modulo")
def modulo(graph, call):
    x, y = call.names()
    if not call.floor:
        return graph.add("Mod", x, y, fmod=1)
    if call.dtype(0).kind != "f":
        return graph.add("Mod", x, y)
    whole = graph.add("Floor", graph.add("Div", x, y))
    return graph.add("Sub", x, graph.add("Mul", y, whole))


@exports("div_floor", "div_trunc")
def whole_quotient(graph, call):
    x, y = call.names()
    if call.dtype(0).kind == "f":
        out = graph.add("Div", x, y)
        if call.op == "div_floor":
            return graph.add("Floor", out)
        return graph.add("Mul", graph.add("Sign", out), graph.add("Floor", graph.add("Abs", out)))
    if call.op == "div_floor":  # ONNX rounds whole numbers towards 0; its Mod has y's sign
        x = graph.add("Sub", x, graph.add("Mod", x, y))
    return graph.add("Div", x, y)


@exports("Copysign")
def copysign(graph, call):
    x, y = call.names()
    size = graph.add("Abs", x)
    below = graph.add("Less", y, np.asarray(0, call.dtype(1)))
    return graph.add("Where", below, graph.add("Neg", size), size)


@exports("Hypot")
def hypot(graph, call):
    x, y = call.names()
    return graph.add("Sqrt", graph.add("Add", graph.add("Mul", x, x), graph.add("Mul", y, y)))


@exports("Exp2", "Expm1", "Log1p", "Log2", "Log10", "Erfc", "Logit")
def composed(graph, call):
    """Without an operator of their own; near 0 expm1 and log1p lose digits, as ONNX has them."""
    x, one = call.name(0), _number(call, 1)
    if call.op == "Exp2":
        return graph.add("Pow", _number(call, 2), x)
    if call.op == "Expm1":
        return graph.add("Sub", graph.add("Exp", x), one)
    if call.op == "Log1p":
        return graph.add("Log", graph.add("Add", x, one))
    if call.op == "Erfc":
        return graph.add("Sub", one, graph.add("Erf", x))
    if call.op == "Logit":
        return graph.add("Log", graph.add("Div", x, graph.add("Sub", one, x)))
    base = math.log(2 if call.op == "Log2" else 10)
    return graph.add("Div", graph.add("Log", x), _number(call, base))


@exports("LogAddExp")
def log_add_exp(graph, call):
    x, y = call.names()
    base = math.log(2) if call.binary else 1.0
    gap = graph.add("Neg", graph.add("Abs", graph.add("Sub", x, y)))
    if base != 1:
        gap = graph.add("Mul", gap, _number(call, base))
    rest = graph.add("Log", graph.add("Add", graph.add("Exp", gap), _number(call, 1)))
    if base != 1:
        rest = graph.add("Div", rest, _number(call, base))
    return graph.add("Add", graph.add("Max", x, y), rest)


@exports("XLogY")
def xlogy(graph, call):
    x, y = call.names()
    product = graph.add("Mul", x, graph.add("Log", y))
    none = graph.add("Equal", x, np.asarray(0, call.dtype(0)))
    return graph.add("Where", none, np.asarray(0, call.dtype(0)), product)


@exports("LeakyRelu")
def leaky_relu(graph, call):
    return graph.add("LeakyRelu", call.name(0), alpha=float(call.slope))


@exports("Elu")
def elu(graph, call):
    x, alpha, scale, rate = call.name(0), call.alpha, call.scale, call.rate
    if scale == 1 and rate == 1:
        return graph.add("Elu", x, alpha=alpha)
    if rate == 1:
        return graph.add("Selu", x, alpha=alpha, gamma=scale)
    out = graph.add("Celu", x, alpha=1 / rate)
    return out if scale == 1 else graph.add("Mul", out, _number(call, scale))


@exports("Silu")
def silu(graph, call):
    x = call.name(0)
    return graph.add("Mul", x, graph.add("Sigmoid", x))


@exports("Gelu", "GeluTanh")
def gelu(graph, call):
    x = call.name(0)
    if graph.opset >= 20:
        return graph.add("Gelu", x, approximate="none" if call.op == "Gelu" else "tanh")
    half, one = _number(call, 0.5), _number(call, 1)
    if call.op == "Gelu":
        inner = graph.add("Erf", graph.add("Mul", x, _number(call, math.sqrt(0.5))))
    else:
        cube = graph.add(
            "Mul", graph.add("Mul", x, x), graph.add("Mul", x, _number(call, 0.044715))
        )
        inner = graph.add("Mul", graph.add("Add", x, cube), _number(call, math.sqrt(2 / math.pi)))
        inner = graph.add("Tanh", inner)
    return graph.add("Mul", graph.add("Mul", x, half), graph.add("Add", inner, one))


@exports("Softplus")
def softplus(graph, call):
    x, beta = call.name(0), call.beta
    if beta == 1:
        return graph.add("Softplus", x)
    scaled = graph.add("Softplus", graph.add("Mul", x, _number(call, beta)))
    return graph.add("Div", scaled, _number(call, beta))
