"""Modules that hold others."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from typing import Any

from minidl._tensor import Tensor
from minidl.nn.activation import ReLU
from minidl.nn.linear import Linear
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


def _place(index: Any, size: int, name: str) -> int:
    index = index.__index__()
    if not -size <= index < size:
        raise IndexError(f"{name}: index {index} is out of range, it holds {size}")
    return index % size


class _Listed(Module):
    """Submodules under the names "0", "1", ..."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._part(list(self._modules.items())[index])
        place = _place(index, len(self), type(self).__name__)
        return next(islice(self._modules.values(), place, None))

    def _part(self, items: list[Any]) -> Any:
        return type(self)([module for _, module in items])  # type: ignore[call-arg]

    def __setitem__(self, index: Any, module: Module) -> None:
        place = _place(index, len(self), type(self).__name__)
        self._modules[list(self._modules)[place]] = _checked(module, type(self).__name__)

    def __delitem__(self, index: Any) -> None:
        names = list(self._modules)
        if not isinstance(index, slice):
            index = _place(index, len(self), type(self).__name__)
        gone = names[index] if isinstance(index, slice) else [names[index]]
        self._renumber([m for name, m in self._modules.items() if name not in gone])

    def _renumber(self, modules: Iterable[Any]) -> None:
        kept = list(modules)
        self._modules.clear()
        self._modules.update({str(i): module for i, module in enumerate(kept)})

    def append(self, module: Module) -> Any:
        """Put a module at the end; returns self."""
        self.add_module(str(len(self)), _checked(module, type(self).__name__))
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Put a module before place `index`."""
        modules = list(self._modules.values())
        modules.insert(index, _checked(module, type(self).__name__))
        self._renumber(modules)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Put all of them at the end; returns self."""
        for module in list(modules):
            self.append(module)
        return self

    def pop(self, index: int = -1) -> Any:
        """Take a module out and return it."""
        module = self[index]
        del self[index]
        return module


def _checked(module: Any, name: str) -> Any:
    if module is not None and not isinstance(module, Module):
        raise TypeError(f"{name}: {type(module).__name__} is not a Module")
    return module


class Sequential(_Listed):
    """Modules one after the other, each on the output of the one before.

        nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        nn.Sequential(OrderedDict(hidden=nn.Linear(4, 8), act=nn.ReLU()))

    A slice is a Sequential of the same modules.
    """

    def __init__(self, *args: Any):
        super().__init__()
        if len(args) == 1 and isinstance(args[0], dict):
            for name, module in args[0].items():
                self.add_module(name, _checked(module, "Sequential"))
        else:
            for i, module in enumerate(args):
                self.add_module(str(i), _checked(module, "Sequential"))

    def _part(self, items: list[Any]) -> "Sequential":
        return type(self)(OrderedDict(items))

    def __add__(self, other: "Sequential") -> "Sequential":
        return Sequential(*self, *other)

    def forward(self, input: Any) -> Any:
        modules = list(self._modules.values())
        i = 0
        while i < len(modules):
            if type(modules[i]) is Linear and _joined(*modules[i : i + 2]):
                input = modules[i](input, relu=True)
                i += 2
            else:
                input = modules[i](input)
                i += 1
        return input


_OWN_FORWARDS = (Linear.forward, ReLU.forward)  # others may be put in their place, for all layers


def _joined(linear: Linear, relu: Any = None) -> bool:
    """Whether a ReLU follows that can be computed with the Linear: nobody looks in between."""
    return (
        type(relu) is ReLU
        and not (linear._pre_hooks or linear._post_hooks or linear._backward_hooks)
        and not (relu._pre_hooks or relu._post_hooks or relu._backward_hooks)
        and "forward" not in linear.__dict__
        and "forward" not in relu.__dict__
        and (Linear.forward, ReLU.forward) == _OWN_FORWARDS
    )


class ModuleList(_Listed):
    """A list of modules; what to do with them is the owner's forward."""

    def __init__(self, modules: Iterable[Module] | None = None):
        super().__init__()
        self.extend(modules or [])

    def __add__(self, other: Iterable[Module]) -> "ModuleList":
        return ModuleList([*self, *other])

    def __iadd__(self, other: Iterable[Module]) -> "ModuleList":
        return self.extend(other)

    def __repr__(self) -> str:
        """Neighbours that read alike are shown once, with their number."""
        lines, first = [], 0
        for text, same in groupby(map(repr, self)):
            count = len(list(same))
            last = first + count - 1
            head = f"({first})" if count == 1 else f"({first}-{last}): {count} x"
            lines.append((head if count > 1 else head + ":") + " " + text.replace("\n", "\n  "))
            first = last + 1
        body = "\n  ".join(lines)
        return f"{type(self).__name__}(\n  {body}\n)" if lines else f"{type(self).__name__}()"


class ModuleDict(Module):
    """Modules by name."""

    def __init__(self, modules: Mapping[str, Module] | Iterable[Any] | None = None):
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, _checked(module, "ModuleDict"))

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Take all out."""
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Take one out and return it."""
        return self._modules.pop(key)

    def keys(self) -> Any:
        """The names."""
        return self._modules.keys()

    def items(self) -> Any:
        """(name, module) pairs."""
        return self._modules.items()

    def values(self) -> Any:
        """The modules."""
        return self._modules.values()

    def update(self, modules: Mapping[str, Module] | Iterable[Any]) -> None:
        """Put all of them in: a mapping, or (name, module) pairs."""
        pairs: Any = modules.items() if hasattr(modules, "items") else modules
        for key, module in pairs:
            self[key] = module


class ParameterList(Module):
    """A list of parameters; a tensor that is put in becomes one."""

    def __init__(self, values: Iterable[Any] | None = None):
        super().__init__()
        self.extend(values or [])

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parameters.values())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return ParameterList(list(self)[index])
        return self._parameters[str(_place(index, len(self), "ParameterList"))]

    def __setitem__(self, index: int, value: Any) -> None:
        name = str(_place(index, len(self), "ParameterList"))
        self.register_parameter(name, _only(value, "ParameterList"))

    def append(self, value: Any) -> "ParameterList":
        """Put a parameter at the end; returns self."""
        self.register_parameter(str(len(self)), _only(value, "ParameterList"))
        return self

    def extend(self, values: Iterable[Any]) -> "ParameterList":
        """Put all of them at the end; returns self."""
        for value in list(values):
            self.append(value)
        return self

    def extra_repr(self) -> str:
        return "\n".join(_described(name, p) for name, p in self._parameters.items())


class ParameterDict(Module):
    """Parameters by name; a tensor that is put in becomes one."""

    def __init__(self, parameters: Mapping[str, Any] | Iterable[Any] | None = None):
        super().__init__()
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key: str) -> Any:
        return self._parameters[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.register_parameter(key, _only(value, "ParameterDict"))

    def __delitem__(self, key: str) -> None:
        del self._parameters[key]

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __contains__(self, key: str) -> bool:
        return key in self._parameters

    def keys(self) -> Any:
        """The names."""
        return self._parameters.keys()

    def items(self) -> Any:
        """(name, parameter) pairs."""
        return self._parameters.items()

    def values(self) -> Any:
        """The parameters."""
        return self._parameters.values()

    def get(self, key: str, default: Any = None) -> Any:
        """The parameter of this name, else the default."""
        return self._parameters.get(key, default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The parameter of this name; if there is none, the default is put in first."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str) -> Any:
        """Take a parameter out, and return it."""
        return self._parameters.pop(key)

    def popitem(self) -> tuple[str, Any]:
        """Take the last one out, and return (name, parameter)."""
        return self._parameters.popitem()

    def clear(self) -> None:
        """Take all of them out."""
        self._parameters.clear()

    def copy(self) -> "ParameterDict":
        """Another one, of the same parameters."""
        return ParameterDict(self._parameters)

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> "ParameterDict":
        """A new one, with a parameter of this value under each name."""
        return ParameterDict(dict.fromkeys(keys, default))

    def __or__(self, other: "ParameterDict") -> "ParameterDict":
        return ParameterDict({**self._parameters, **other._parameters})

    def __ior__(self, other: "ParameterDict") -> "ParameterDict":
        self.update(other)
        return self

    def update(self, parameters: Mapping[str, Any] | Iterable[Any]) -> None:
        """Put all of them in: a mapping, or (name, tensor) pairs."""
        pairs: Any = parameters.items() if hasattr(parameters, "items") else parameters
        for key, value in pairs:
            self[key] = value

    def extra_repr(self) -> str:
        return "\n".join(_described(name, p) for name, p in self._parameters.items())


def _only(value: Any, name: str) -> Parameter:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: {type(value).__name__} is not a tensor")
    return value if isinstance(value, Parameter) else Parameter(value)


def _described(name: str, p: Any) -> str:
    sizes = "x".join(str(n) for n in p.shape)
    return f"({name}): Parameter containing: [{p.dtype} of size {sizes}]"
