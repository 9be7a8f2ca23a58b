"""Normalisation of channels, with running statistics: of a batch, and of each sample."""

import warnings
from typing import Any, ClassVar

import numpy as np

from minidl._tensor import Tensor
from minidl.dtypes import as_dtype, get_default_dtype
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.linear import check_sizes, new_parameter
from minidl.nn.module import Module

__all__ = ["BatchNorm1d", "BatchNorm2d", "InstanceNorm1d", "InstanceNorm2d"]


class _ChannelNorm(Module):
    """Parameters weight and bias; buffers running_mean, running_var, num_batches_tracked."""

    axes: ClassVar[tuple[int, ...]]  # how many axes x may have
    layout: ClassVar[str]

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: Any,
        dtype: Any,
        bias: bool,
    ):
        super().__init__()
        check_sizes(type(self).__name__, num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.register_parameter("weight", None)
        self.register_parameter("bias", None)
        if affine:
            self.weight = new_parameter(num_features, device, dtype)
            if bias:
                self.bias = new_parameter(num_features, device, dtype)
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, None)
        if track_running_stats:
            wanted = get_default_dtype() if dtype is None else as_dtype(dtype)
            self.running_mean = Tensor(np.zeros(num_features, wanted))
            self.running_var = Tensor(np.ones(num_features, wanted))
            self.num_batches_tracked = Tensor(np.zeros((), np.int64))
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """running_mean 0, running_var 1, num_batches_tracked 0."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """weight 1, bias 0, and the running statistics as at first."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def _check(self, input: Tensor) -> None:
        if input.ndim not in self.axes:
            raise ValueError(f"{type(self).__name__}: x must be {self.layout}, got {input.shape}")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_ChannelNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        tracked = track_running_stats
        super().__init__(num_features, eps, momentum, affine, tracked, device, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        if input.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}: num_features is {self.num_features}, but x {input.shape} "
                f"has {input.shape[1]} channels"
            )
        momentum, counted = self.momentum, self.num_batches_tracked
        if self.training and self.track_running_stats and counted is not None:
            counted.array[...] += 1
            counted.version[0] += 1
            if momentum is None:  # the mean of all batches so far
                momentum = 1.0 / float(counted.array)
        by_batch = self.training or self.running_mean is None
        tracked = not self.training or self.track_running_stats
        return F.batch_norm(
            input,
            self.running_mean if tracked else None,
            self.running_var if tracked else None,
            self.weight,
            self.bias,
            by_batch,
            0.0 if momentum is None else momentum,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """(x - mean) / sqrt(var + eps) weight + bias of each channel of x, (N, C) or (N, C, L).

    Ioffe & Szegedy 2015, arXiv:1502.03167. In training mean and var are the batch's, and the
    running ones move towards them: r <- (1 - momentum) r + momentum s; momentum None: their mean
    over all batches. eval() uses the running ones; track_running_stats=False has none, and uses the
    batch's always. affine=False: no weight (first 1) and bias (first 0); bias=False: no bias.
    """

    axes = (2, 3)
    layout = "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """(x - mean) / sqrt(var + eps) weight + bias of each channel of x (N, C, H, W).

    Arguments and behaviour are BatchNorm1d's.
    """

    axes = (4,)
    layout = "(N, C, H, W)"


class _InstanceNorm(_ChannelNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        tracked = track_running_stats
        super().__init__(num_features, eps, momentum, affine, tracked, device, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        single = input.ndim == self.axes[0]
        channels = input.shape[0 if single else 1]
        if channels != self.num_features:
            text = (
                f"{type(self).__name__}: num_features is {self.num_features}, but x {input.shape} "
                f"has {channels} channels"
            )
            if self.affine or self.track_running_stats:
                raise ValueError(text)
            warnings.warn(f"{text}; it makes no difference without affine", stacklevel=3)
        out = F.instance_norm(
            input.unsqueeze(0) if single else input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            self.momentum or 0.0,
            self.eps,
        )
        return out.squeeze(0) if single else out


class InstanceNorm1d(_InstanceNorm):
    """(x - mean) / sqrt(var + eps) of each channel of each sample, x (N, C, L) or (C, L).

    Ulyanov, Vedaldi & Lempitsky 2016, arXiv:1607.08022. affine=True: weight and bias of each
    channel; track_running_stats=True: running statistics, used in eval().
    """

    axes = (2, 3)
    layout = "(N, C, L) or (C, L)"


class InstanceNorm2d(_InstanceNorm):
    """(x - mean) / sqrt(var + eps) of each channel of each sample, x (N, C, H, W) or (C, H, W).

    Arguments and behaviour are InstanceNorm1d's.
    """

    axes = (3, 4)
    layout = "(N, C, H, W) or (C, H, W)"
