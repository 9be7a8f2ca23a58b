"""Elementwise ops, forward and backward, as instructions of `kernels.elementwise_program`.

    FORWARD[op](emit, *operands, **settings) -> the place of the output
    BACKWARD[op](emit, dout, saved, needs, **settings) -> one place (or None) an operand

`emit(instruction, a, b, c)` adds one and returns its place; `emit.number(x)` the place of a number.
`saved` has the op's operands and its output by name.
"""

from typing import Any

from minidl.kernels import program as vm
from minidl.ops import activation as act
from minidl.ops import choice
from minidl.ops import elementwise as ew
from minidl.ops import transcendental as power


def _unary(instruction: int) -> Any:
    return lambda emit, x: emit(instruction, x)


def _pow(emit: Any, x: Any, y: Any) -> Any:
    """x^2, x^3, x^4 as products, as the op has them; a root."""
    if y == 2:
        return emit(vm.MUL, x, x)
    if y == 3:
        return emit(vm.MUL, emit(vm.MUL, x, x), x)
    if y == 4:
        square = emit(vm.MUL, x, x)
        return emit(vm.MUL, square, square)
    return None


FORWARD: dict[Any, Any] = {
    ew.Add: lambda emit, x, y: emit(vm.ADD, x, y),
    ew.Sub: lambda emit, x, y: emit(vm.SUB, x, y),
    ew.Mul: lambda emit, x, y: emit(vm.MUL, x, y),
    ew.Div: lambda emit, x, y: emit(vm.DIV, x, y),
    ew.Neg: _unary(vm.NEG),
    ew.Exp: _unary(vm.EXP),
    ew.Log: _unary(vm.LOG),
    ew.Sqrt: _unary(vm.SQRT),
    ew.Tanh: _unary(vm.TANH),
    power.Erf: _unary(vm.ERF),
    power.Pow: _pow,
    choice.Abs: _unary(vm.ABS),
    act.Sigmoid: _unary(vm.SIGMOID),
    act.Relu: _unary(vm.RELU),
    act.Gelu: _unary(vm.GELU),
    act.Silu: _unary(vm.SILU),
    act.LeakyRelu: lambda emit, x, slope: emit(vm.LEAKY, x, emit.number(slope)),
}


def _mul_back(emit: Any, dout: Any, saved: Any, needs: Any) -> Any:
    x, y = saved["x"], saved["y"]
    dx = emit(vm.MUL, dout, y) if needs[0] else None
    return dx, emit(vm.MUL, dout, x) if needs[1] else None


def _div_back(emit: Any, dout: Any, saved: Any, needs: Any) -> Any:
    x, y = saved["x"], saved["y"]
    part = emit(vm.UNTAKEN, dout, emit(vm.DIV, dout, y))
    if not needs[1]:
        return part, None
    dy = emit(vm.MUL, emit(vm.NEG, part), emit(vm.DIV, x, y))
    return (part if needs[0] else None), emit(vm.UNTAKEN, dout, dy)


def _sub_back(emit: Any, dout: Any, saved: Any, needs: Any) -> Any:
    return (dout if needs[0] else None), (emit(vm.NEG, dout) if needs[1] else None)


def _pow_back(emit: Any, dout: Any, saved: Any, needs: Any) -> Any:
    x, y = saved["x"], saved["y"]
    if not needs[0]:
        return None, None
    lower = x if y == 2 else _pow(emit, x, y - 1)
    part = emit(vm.MUL, emit(vm.MUL, dout, emit.number(y)), lower)
    return emit(vm.UNTAKEN, dout, part), None


def _sqrt_back(emit: Any, dout: Any, saved: Any, needs: Any) -> Any:
    twice = emit(vm.MUL, saved["out"], emit.number(2.0))
    return (emit(vm.UNTAKEN, dout, emit(vm.DIV, dout, twice)),)


def _erf_back(emit: Any, dout: Any, saved: Any, needs: Any) -> Any:
    x = saved["x"]
    bell = emit(vm.EXP, emit(vm.MUL, emit(vm.NEG, x), x))
    return (emit(vm.MUL, emit(vm.MUL, dout, bell), emit.number(power._TWO_BY_ROOT_PI)),)


BACKWARD: dict[Any, Any] = {
    ew.Add: lambda emit, dout, saved, needs: tuple([dout if need else None for need in needs]),
    ew.Sub: _sub_back,
    ew.Mul: _mul_back,
    ew.Div: _div_back,
    ew.Neg: lambda emit, dout, saved, needs: (emit(vm.NEG, dout),),
    ew.Exp: lambda emit, dout, saved, needs: (
        emit(vm.UNTAKEN, dout, emit(vm.MUL, dout, saved["out"])),
    ),
    ew.Log: lambda emit, dout, saved, needs: (
        emit(vm.UNTAKEN, dout, emit(vm.DIV, dout, saved["x"])),
    ),
    ew.Sqrt: _sqrt_back,
    ew.Tanh: lambda emit, dout, saved, needs: (emit(vm.TANH_BACK, dout, saved["out"]),),
    power.Erf: _erf_back,
    power.Pow: _pow_back,
    choice.Abs: lambda emit, dout, saved, needs: (emit(vm.SIGN_BACK, dout, saved["x"]),),
    act.Sigmoid: lambda emit, dout, saved, needs: (emit(vm.SIGMOID_BACK, dout, saved["out"]),),
    act.Relu: lambda emit, dout, saved, needs: (emit(vm.RELU_BACK, dout, saved["out"]),),
    act.Gelu: lambda emit, dout, saved, needs: (emit(vm.GELU_BACK, dout, saved["x"]),),
    act.Silu: lambda emit, dout, saved, needs: (emit(vm.SILU_BACK, dout, saved["x"]),),
    act.LeakyRelu: lambda emit, dout, saved, needs, slope: (
        emit(vm.LEAKY_BACK, dout, saved["x"], emit.number(slope)),
    ),
}
