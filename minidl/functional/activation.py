"""Activation functions, as `torch.nn.functional` has them."""

from typing import Any

import numpy as np

from minidl._apply import apply, apply1
from minidl._inplace import before_change, overwrite
from minidl._tensor import Tensor, method
from minidl.functional.choice import where
from minidl.functional.comparison import gt, le
from minidl.functional.transcendental import sigmoid, tanh
from minidl.ops import activation as ops
from minidl.ops.choice import Clamp, Where

__all__ = [
    "celu", "elu", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh",
    "leaky_relu", "logsigmoid", "mish", "prelu", "relu", "relu6", "relu_", "rrelu", "selu",
    "sigmoid", "silu", "softplus", "softshrink", "softsign", "tanh", "tanhshrink", "threshold",
]  # fmt: skip


def _applied(op: Any, input: Tensor, inplace: bool, name: str, **settings: Any) -> Tensor:
    """The op on input; if `inplace`, its result takes input's place."""
    if input.dtype.kind != "f":
        raise TypeError(f"{name}: floating point is needed, got {input.dtype}; use .float()")
    if not inplace:
        return apply(op, input, **settings)
    return overwrite(input, apply(op, before_change(input), **settings), name)


def _composed(function: Any, input: Tensor, inplace: bool, name: str) -> Tensor:
    if input.dtype.kind != "f":
        raise TypeError(f"{name}: floating point is needed, got {input.dtype}; use .float()")
    return overwrite(input, function(before_change(input)), name) if inplace else function(input)


@method
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0) (Nair & Hinton 2010); the derivative at 0 is 0."""
    return overwrite(input, apply1(ops.Relu, input), "relu") if inplace else apply1(ops.Relu, input)


@method
def relu_(input: Tensor) -> Tensor:
    """`relu` in place."""
    return relu(input, inplace=True)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6) (Krizhevsky 2010)."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """x limited to [min_val, max_val]; the derivative at the limits is 0."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val {min_val} must not exceed max_val {max_val}")
    return _applied(Clamp, input, inplace, "hardtanh", low=min_val, high=max_val, closed=False)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x above 0, negative_slope * x below (Maas, Hannun & Ng 2013)."""
    slope = float(negative_slope)
    return _applied(ops.LeakyRelu, input, inplace, "leaky_relu", slope=slope)


@method
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x above 0, weight * x below (He et al. 2015, arXiv:1502.01852).

    weight: one number, or one a channel, which is axis 1 of input.
    """
    if weight.array.size != 1:
        channels = input.shape[1] if input.ndim > 1 else 1
        if weight.ndim != 1 or weight.shape[0] != channels:
            raise ValueError(
                f"prelu: weight {weight.shape} must be (1,) or ({channels},), one a channel of "
                f"input {input.shape}"
            )
        weight = weight.reshape(-1, *(1,) * (input.ndim - 2))
    elif weight.ndim:
        weight = weight.reshape(())
    return where(gt(input, 0), input, input * weight)


@method
def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
    generator: "np.random.Generator | None" = None,
) -> Tensor:
    """Leaky rectifier whose slope is drawn for each element in training (Xu et al. 2015).

    Outside training the slope is the mean of `lower` and `upper`.
    """
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    from minidl.random import default_generator

    draw = (generator or default_generator).uniform(lower, upper, input.shape).astype(input.dtype)
    slopes = Tensor(np.where(input.array > 0, input.dtype.type(1), draw))
    return _composed(lambda x: x * slopes, input, inplace, "rrelu")


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x above 0, alpha (e^x - 1) below (Clevert et al. 2015, arXiv:1511.07289)."""
    return _applied(ops.Elu, input, inplace, "elu", alpha=float(alpha), scale=1.0, rate=1.0)


@method
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """ELU scaled to keep mean 0 and variance 1 (Klambauer et al. 2017, arXiv:1706.02515)."""
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    return _applied(ops.Elu, input, inplace, "selu", alpha=alpha, scale=scale, rate=1.0)


@method
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x above 0, alpha (e^(x / alpha) - 1) below (Barron 2017, arXiv:1704.07483)."""
    if alpha == 0:
        raise ZeroDivisionError("celu: alpha must not be 0")
    alpha = float(alpha)
    return _applied(ops.Elu, input, inplace, "celu", alpha=alpha, scale=1.0, rate=1 / alpha)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x Phi(x), Phi of the normal distribution, or its approximation by "tanh"."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return _applied(ops.Gelu if approximate == "none" else ops.GeluTanh, input, False, "gelu")


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x), also called swish."""
    return _applied(ops.Silu, input, inplace, "silu")


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(softplus(x)) (Misra 2019, arXiv:1908.08681)."""
    return _composed(lambda x: x * softplus(x).tanh(), input, inplace, "mish")


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta, and x where beta x > threshold."""
    settings = {"beta": float(beta), "threshold": float(threshold)}
    return _applied(ops.Softplus, input, False, "softplus", **settings)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), without underflow."""
    return -softplus(-input, threshold=float("inf"))


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return input / (input.abs() + 1.0)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x + 3, 0), 6) / 6."""
    return _composed(lambda x: relu6(x + 3.0) / 6.0, input, inplace, "hardsigmoid")


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)."""
    return _applied(ops.Hardswish, input, inplace, "hardswish")


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return input - input.tanh()


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x drawn towards 0 by lambd, and 0 within."""
    if lambd < 0:
        raise ValueError(f"softshrink: lambd must be 0 or more, got {lambd}")
    return input - apply(Clamp, input, low=-lambd, high=lambd, closed=True)


@method
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, 0 elsewhere."""
    return apply(Where, le(input.abs(), lambd).array, input.dtype.type(0), input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, value elsewhere."""

    def passed(x: Tensor) -> Tensor:
        return apply(Where, le(x, threshold).array, x.dtype.type(value), x)

    return overwrite(input, passed(input), "threshold") if inplace else passed(input)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b), a and b the halves of x along `dim` (Dauphin et al. 2016, arXiv:1612.08083)."""
    size = input.shape[dim] if input.ndim else 1
    if size % 2:
        raise RuntimeError(
            f"glu: the size along dim {dim} must be even to be halved, got {input.shape}"
        )
    turned = input.swapaxes(dim, -1)
    first, second = turned[..., : size // 2], turned[..., size // 2 :]
    return (first * second.sigmoid()).swapaxes(dim, -1)
