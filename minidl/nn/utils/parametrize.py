"""Parametrizations: a parameter that is computed from others each time it is read.

    class Symmetric(nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).mT

    parametrize.register_parametrization(layer, "weight", Symmetric())
    layer.weight                        # Symmetric()(layer.parametrizations.weight.original)

The original stays the parameter that is learned. Several parametrizations of one tensor are applied
in the order of their registration. A parametrization may have

    right_inverse(value)    the original, or a tuple of originals, for a wanted value: used when it
                            is registered and when the tensor is assigned
"""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from minidl._tensor import Tensor
from minidl.autograd import no_grad
from minidl.nn.container import ModuleDict, ModuleList
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter

__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization",
    "remove_parametrizations", "type_before_parametrizations",
]  # fmt: skip

_cache: dict[tuple[int, str], Tensor] = {}
_cached_depth = 0


@contextmanager
def cached() -> Iterator[None]:
    """Inside, each parametrized tensor is computed once and then kept: for recurrent use of one."""
    global _cached_depth
    _cached_depth += 1
    try:
        yield
    finally:
        _cached_depth -= 1
        if not _cached_depth:
            _cache.clear()


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, and its original (or original0, original1, ...)."""

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False):
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        with no_grad():
            value: Any = original
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    with suppress(NotImplementedError):  # then it is taken as the identity
                        value = module.right_inverse(value)
        self.is_tensor = isinstance(value, Tensor)
        if self.is_tensor:
            if value.dtype != dtype:
                raise ValueError(
                    f"register_parametrization: right_inverse made {value.dtype} of {dtype}; it "
                    "may not change the dtype"
                )
            _set(original, value)  # the same parameter: an optimizer has it already
            _put(self, "original", original)
            self.ntensors = 1
        else:
            if not isinstance(value, (tuple, list)):
                raise ValueError(
                    "register_parametrization: right_inverse must return a Tensor or a tuple of "
                    f"them, got {type(value).__name__}"
                )
            self.ntensors = len(value)
            for i, part in enumerate(value):
                part = part.detach().clone()
                if isinstance(original, Parameter):
                    part = Parameter(part, original.requires_grad)
                _put(self, f"original{i}", part)
        if not unsafe:
            _check_kept(self(), shape, dtype)

    def originals(self) -> list[Tensor]:
        """What the tensor is computed from."""
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the tensor becomes `value`."""
        with no_grad():
            inverse: Any = value
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrize: {type(module).__name__} has no right_inverse, so its tensor "
                        "cannot be assigned"
                    )
                inverse = module.right_inverse(inverse)
            for own, part in zip(self.originals(), [inverse] if self.is_tensor else inverse):
                _set(own, part)

    def forward(self) -> Tensor:
        first, *rest = list(self)
        x = first(*self.originals())
        for module in rest:
            x = module(x)
        return x


def _set(target: Tensor, value: Tensor) -> None:
    """Give a tensor another's values in a storage of its own; the object stays."""
    if value is not target:
        target.data = Tensor(value.array.copy())


def _put(module: Module, name: str, tensor: Tensor) -> None:
    table = module._parameters if isinstance(tensor, Parameter) else module._buffers
    table[name] = tensor  # type: ignore[assignment,index]


def _check_kept(value: Any, shape: tuple[int, ...], dtype: Any) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(
            f"register_parametrization: forward must return a Tensor, got {type(value).__name__}"
        )
    if value.shape != shape or value.dtype != dtype:
        raise ValueError(
            f"register_parametrization: the tensor is {shape} {dtype}, its parametrization "
            f"{value.shape} {value.dtype}; give unsafe=True if that is wanted"
        )


class _Parametrized:
    """Marks the classes made here."""


@functools.cache
def _class_of(base: type[Module], names: tuple[str, ...]) -> type[Module]:
    """The module's class with a property for each parametrized tensor."""

    def property_of(name: str) -> property:
        def get(self: Any) -> Any:
            if not _cached_depth:
                return computed(self)
            key = (id(self), name)
            if key not in _cache:
                _cache[key] = computed(self)
            return _cache[key]

        def computed(self: Any) -> Any:
            try:
                return self.parametrizations[name]()
            except AttributeError as error:  # Python would say that there is no such property
                raise RuntimeError(f"parametrization of {name!r}: {error}") from error

        def put(self: Any, value: Any) -> None:
            self.parametrizations[name].right_inverse(value)

        return property(get, put)

    def setattr_(self: Any, name: str, value: Any) -> None:
        if name in names:  # also a Parameter: it must not hide the property
            object.__setattr__(self, name, value)
        else:
            base.__setattr__(self, name, value)

    body: dict[str, Any] = {name: property_of(name) for name in names}
    body |= {"__setattr__": setattr_, "__module__": base.__module__, "_unparametrized": base}
    return type(f"Parametrized{base.__name__}", (base, _Parametrized), body)


def _reclass(module: Module) -> None:
    names = tuple(module.parametrizations.keys()) if is_parametrized(module) else ()
    base = type_before_parametrizations(module)
    module.__class__ = _class_of(base, names) if names else base  # type: ignore[arg-type]


def type_before_parametrizations(module: Module) -> type[Module]:
    """The module's class without its parametrizations."""
    return getattr(type(module), "_unparametrized", type(module))


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module has a parametrized tensor, or one of that name."""
    found = module._modules.get("parametrizations")
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Let module.<tensor_name>, a parameter or buffer, be computed by `parametrization`.

    Its state moves to "parametrizations.<tensor_name>.original". A parametrization whose
    right_inverse returns several tensors has new parameters original0, original1, ...: give them
    to the optimizer. unsafe: do not check that shape and dtype stay.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        known = module.parametrizations[tensor_name]
        value = getattr(module, tensor_name)
        if not unsafe:
            with no_grad():
                start = value
                if hasattr(parametrization, "right_inverse"):
                    start = parametrization.right_inverse(value)
                if not isinstance(start, Tensor):
                    raise ValueError(
                        "register_parametrization: only the first parametrization of a tensor may "
                        "have several originals"
                    )
                _check_kept(parametrization(start), value.shape, value.dtype)
        known.append(parametrization)
        known.unsafe = known.unsafe or unsafe
        return module
    for table in (module._parameters, module._buffers):
        if table.get(tensor_name) is not None:
            break
    else:
        raise ValueError(
            f"register_parametrization: {type(module).__name__} has no parameter or buffer "
            f"{tensor_name!r}"
        )
    original: Any = table[tensor_name]
    made = ParametrizationList([parametrization], original, unsafe)
    made.training = module.training
    del table[tensor_name]  # type: ignore[arg-type]
    if "parametrizations" not in module._modules:
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = made
    _reclass(module)
    return module


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make it a plain parameter or buffer again: with the computed value, or the original's."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(
            f"remove_parametrizations: {type(module).__name__} has no parametrized {tensor_name!r}"
        )
    known = module.parametrizations[tensor_name]
    if known.is_tensor:
        original = known.original
        if leave_parametrized:
            with no_grad():
                _set(original, getattr(module, tensor_name))
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        original = Parameter(value.detach()) if value.requires_grad else value
    else:
        raise ValueError(
            "remove_parametrizations: leave_parametrized=False needs one original, this tensor has "
            f"{known.ntensors}"
        )
    del module.parametrizations[tensor_name]
    if not len(module.parametrizations):
        del module._modules["parametrizations"]
    _reclass(module)
    _put(module, tensor_name, original)
    return module
