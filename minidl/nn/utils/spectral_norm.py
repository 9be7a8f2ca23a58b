"""Spectral norm in torch's older form: `weight_orig`, `weight_u`, `weight_v` on the module."""

from typing import Any

import numpy as np

from minidl import random
from minidl._tensor import Tensor
from minidl.autograd import no_grad
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.nn.utils.parametrizations import (
    as_matrix,
    check_iterations,
    checked_dim,
    default_dim,
    divided_by_sigma,
    unit,
)
from minidl.nn.utils.weight_norm import drop_hook, take_parameter

__all__ = ["remove_spectral_norm", "spectral_norm"]


class SpectralNorm:
    """The hook that computes the weight before each forward."""

    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float):
        self.name, self.dim, self.eps = name, dim, eps
        self.n_power_iterations = n_power_iterations

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """weight_orig / (u^T W v), after bringing u and v nearer."""
        weight = getattr(module, self.name + "_orig")
        u, v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        if do_power_iteration:
            matrix = as_matrix(weight.array, self.dim)
            for _ in range(self.n_power_iterations):
                v.array[...] = unit(matrix.T @ u.array, self.eps)
                u.array[...] = unit(matrix @ v.array, self.eps)
            u.version[0] += 1
            v.version[0] += 1
        return divided_by_sigma(weight, u.array, v.array, self.dim)

    def __call__(self, module: Module, args: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """`parametrizations.spectral_norm` for state dicts with "weight_orig", "weight_u", "weight_v".

    In training each forward first takes n_power_iterations steps of v = W^T u / |W^T u|,
    u = W v / |W v|, and then divides the weight by u^T W v. `parametrizations.spectral_norm` is
    the better form for new models.
    """
    check_iterations(n_power_iterations)
    dim = default_dim(module) if dim is None else dim
    weight = take_parameter("spectral_norm", SpectralNorm, module, name)
    dim = checked_dim(weight, dim)
    hook = SpectralNorm(name, n_power_iterations, dim, eps)
    module.register_parameter(name + "_orig", weight)
    for part, size in zip(("_u", "_v"), as_matrix(weight.array, dim).shape):
        start = random.default_generator.standard_normal(size).astype(weight.dtype)
        module.register_buffer(name + part, Tensor(unit(start, eps)))
    setattr(module, name, Tensor(np.array(weight.array)))  # as in torch, W itself until a forward
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight a plain parameter again, divided as it is now."""
    hook = drop_hook("remove_spectral_norm", SpectralNorm, module, name)
    with no_grad():
        weight = hook.compute_weight(module, False)
    for part in (name, name + "_u", name + "_v", name + "_orig"):
        delattr(module, part)
    module.register_parameter(name, Parameter(weight.detach()))
    return module
