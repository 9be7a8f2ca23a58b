"""Affine layers."""

import math
from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.dtypes import as_dtype, get_default_dtype
from minidl.functional import layers as F
from minidl.functional.creation import check_device
from minidl.nn import init
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter

__all__ = ["Bilinear", "Identity", "Linear"]


def new_parameter(shape: Any, device: Any, dtype: Any, value: float = 0.0) -> Parameter:
    """A parameter of a layer, in the dtype asked for or the default one."""
    check_device(device)
    wanted = get_default_dtype() if dtype is None else as_dtype(dtype)
    return Parameter(Tensor(np.full(shape, value, wanted)))


def check_sizes(layer: str, **sizes: Any) -> None:
    """Raise for a size that is not a whole number of 0 or more."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 0:
            raise ValueError(f"{layer}: {name} must be a whole number, 0 or more, got {size!r}")


class Identity(Module):
    """x, whatever the arguments."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Linear(Module):
    """y = x weight^T + bias: (..., in_features) -> (..., out_features).

    weight (out_features, in_features), bias (out_features,), both first uniform on
    (-1, 1) / sqrt(in_features).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        check_sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = new_parameter((out_features, in_features), device, dtype)
        self.register_parameter("bias", None)
        if bias:
            self.bias = new_parameter(out_features, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor, *, relu: bool = False) -> Tensor:
        return F.linear(input, self.weight, self.bias, relu=relu)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Bilinear(Module):
    """y_o = x1^T weight_o x2 + bias_o: (..., in1), (..., in2) -> (..., out_features).

    weight (out, in1, in2), bias (out,), both first uniform on (-1, 1) / sqrt(in1).
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        check_sizes(
            "Bilinear",
            in1_features=in1_features,
            in2_features=in2_features,
            out_features=out_features,
        )
        if in1_features == 0:
            raise ValueError("Bilinear: in1_features must be 1 or more")
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        self.weight = new_parameter((out_features, in1_features, in2_features), device, dtype)
        self.register_parameter("bias", None)
        if bias:
            self.bias = new_parameter(out_features, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
