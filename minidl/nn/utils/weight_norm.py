"""Weight norm in torch's older form: `weight_g` and `weight_v` stand on the module itself."""

from typing import Any

from minidl._tensor import Tensor
from minidl.autograd import no_grad
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter
from minidl.nn.utils.parametrizations import norm_except

__all__ = ["remove_weight_norm", "weight_norm"]


class WeightNorm:
    """The hook that computes the weight before each forward."""

    def __init__(self, name: str, dim: int):
        self.name, self.dim = name, dim

    def compute_weight(self, module: Module) -> Tensor:
        """g v / |v|."""
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return v * (g / norm_except(v, self.dim))

    def __call__(self, module: Module, args: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """`parametrizations.weight_norm` for state dicts with the keys "weight_g" and "weight_v".

        weight = g v / |v|

    The weight is computed before each forward. `parametrizations.weight_norm` is the better form
    for new models.
    """
    dim = -1 if dim is None else dim
    weight = take_parameter("weight_norm", WeightNorm, module, name)
    hook = WeightNorm(name, dim)
    with no_grad():
        module.register_parameter(name + "_g", Parameter(norm_except(weight, dim)))
    module.register_parameter(name + "_v", Parameter(weight.data))
    setattr(module, name, hook.compute_weight(module))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight a plain parameter again, with the value it has."""
    hook = drop_hook("remove_weight_norm", WeightNorm, module, name)
    with no_grad():
        weight = hook.compute_weight(module)
    for part in (name, name + "_g", name + "_v"):
        delattr(module, part)
    module.register_parameter(name, Parameter(weight.detach()))
    return module


def take_parameter(function: str, kind: Any, module: Module, name: str) -> Parameter:
    """Take the parameter out of the module; an error if a hook of that kind has it already."""
    if any(isinstance(hook, kind) and hook.name == name for hook in module._pre_hooks):
        raise RuntimeError(f"{function}: {name!r} of {type(module).__name__} has one already")
    weight = module._parameters.get(name)
    if weight is None:
        raise ValueError(f"{function}: {type(module).__name__} has no parameter {name!r}")
    del module._parameters[name]
    return weight


def drop_hook(function: str, kind: Any, module: Module, name: str) -> Any:
    """Take the hook of that kind and name away and return it."""
    for hook in module._pre_hooks:
        if isinstance(hook, kind) and hook.name == name:
            module._pre_hooks.remove(hook)
            return hook
    raise ValueError(f"{function}: not found on {name!r} of {type(module).__name__}")
