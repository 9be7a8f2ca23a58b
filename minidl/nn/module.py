"""Module: parameters, buffers and submodules by name, and what can be done with all of them."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from minidl._device import check_device
from minidl._tensor import HookHandle, Tensor
from minidl.dtypes import as_dtype, float16, float32, float64
from minidl.functional.attributes import is_device
from minidl.nn._backward_hooks import Watch
from minidl.nn._module_state import ModuleState
from minidl.nn.parameter import Parameter

_M = TypeVar("_M", bound="Module")


class _WithKeywords:
    """A hook that sees the keyword arguments of the call too."""

    def __init__(self, hook: Callable[..., Any]):
        self.hook = hook


class Module(ModuleState):
    """Base of all layers and models.

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.hidden = nn.Linear(4, 8)       # found by its type, under its name

            def forward(self, x):
                return self.hidden(x).relu()

    Assigning a Parameter or a Module registers it; order is the order of assignment. Call the
    module, not its forward: the call runs hooks, and an error inside names the path to it.
    """

    training: bool

    def __init__(self) -> None:
        set_ = super().__setattr__
        set_("_parameters", {})
        set_("_buffers", {})
        set_("_modules", {})
        set_("_transient", set())  # buffers that are not saved
        set_("_pre_hooks", [])
        set_("_post_hooks", [])
        set_("_backward_hooks", [])
        set_("training", True)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"{type(self).__name__} has no forward: define forward(self, ...)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for pre in self._pre_hooks[:]:  # a copy: a hook may remove itself
            if isinstance(pre, _WithKeywords):
                given = pre.hook(self, args, kwargs)
                args, kwargs = (args, kwargs) if given is None else given
                continue
            given = pre(self, args)
            if given is not None:
                args = given if isinstance(given, tuple) else (given,)
        watch = None
        if self._backward_hooks:
            watch = Watch(self, self._backward_hooks)
            args = watch.inputs(args)
        try:
            out = self.forward(*args, **kwargs)
        except Exception as error:
            self._name_path(error)
            raise
        for post in self._post_hooks[:]:
            if isinstance(post, _WithKeywords):
                given = post.hook(self, args, kwargs, out)
            else:
                given = post(self, args, out)
            out = out if given is None else given
        return out if watch is None else watch.outputs(out)

    def _name_path(self, error: Exception) -> None:
        """Put the way from the outermost module to the failing one in front of the message."""
        trail = error.__dict__.setdefault("_trail", [])
        if not trail:
            if isinstance(error, AttributeError) and error.name == "array":
                given = type(error.obj).__name__  # only a Tensor has one
                error.args = (f"a Tensor is needed, got {given}; minidl.tensor(x) makes one",)
            error.__dict__["_message"] = str(error.args[0]) if error.args else ""
            trail.append(self)
            return
        child = trail[0]
        name = next((name for name, m in self.named_modules() if m is child and name), None)
        if name is None:
            return
        trail[0] = self
        path = error.__dict__.get("_path")
        error.__dict__["_path"] = f"{name}.{path}" if path else name
        if len(error.args) == 1 and isinstance(error.args[0], str):
            error.args = (f"{error.__dict__['_path']}: {error.__dict__['_message']}",)

    # names

    def __setattr__(self, name: str, value: Any) -> None:
        tables = self.__dict__.get("_parameters")
        if tables is None:
            if isinstance(value, (Parameter, Module)):
                raise AttributeError(
                    f"{type(self).__name__}: call super().__init__() before assigning {name!r}"
                )
            super().__setattr__(name, value)
            return
        if isinstance(value, Parameter):
            self._only_in("_parameters", name)
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._only_in("_modules", name)
            self._modules[name] = value
        elif name in self._parameters and value is not None:
            raise TypeError(
                f"cannot assign {type(value).__name__} to parameter {name!r}: "
                "give an nn.Parameter, or None"
            )
        elif name in self._parameters:
            self._parameters[name] = None
        elif name in self._buffers and (value is None or isinstance(value, Tensor)):
            self._buffers[name] = value
        elif name in self._modules:
            if value is not None:
                raise TypeError(
                    f"cannot assign {type(value).__name__} to module {name!r}: "
                    "give a Module, or None"
                )
            self._modules[name] = None
        else:
            super().__setattr__(name, value)

    def _only_in(self, table: str, name: str) -> None:
        """Forget `name` elsewhere; in its table it keeps its place in the order."""
        self.__dict__.pop(name, None)
        for other in ("_parameters", "_buffers", "_modules"):
            if other != table:
                self.__dict__[other].pop(name, None)

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            found = self.__dict__.get(table, {})
            if name in found:
                return found[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        names = [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]
        return sorted({name for name in names if not name[:1].isdigit()})

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                return
        super().__delattr__(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """A parameter by name; None says that it is left out (a layer without bias)."""
        self._check_name(name, self._parameters)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"register_parameter: {name!r} must be an nn.Parameter or None, got "
                f"{type(param).__name__}"
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """A tensor that belongs to the state but is not learned; saved unless persistent=False."""
        self._check_name(name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"register_buffer: {name!r} must be a Tensor or None, got {type(tensor).__name__}"
            )
        self._buffers[name] = tensor
        self._transient.discard(name)
        if not persistent:
            self._transient.add(name)

    def add_module(self, name: str, module: "Module | None") -> None:
        """A submodule by name."""
        self._check_name(name, self._modules)
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module: {name!r} must be a Module, got {type(module).__name__}")
        self._modules[name] = module

    register_module = add_module

    def _check_name(self, name: str, table: dict[str, Any]) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"name {name!r} must be a string, not empty, without dots")
        if name not in table and hasattr(self, name):
            raise KeyError(f"{type(self).__name__} already has an attribute {name!r}")

    # walking

    def children(self) -> Iterator["Module"]:
        """The direct submodules."""
        return (module for _, module in self.named_children())

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """(name, module) of the direct submodules."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self) -> Iterator["Module"]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[Any]:
        """(path, module) of this module (path "") and all below it, each once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def _named(self, table: str, recurse: bool, prefix: str = "", once: bool = True) -> Any:
        seen: set[int] = set()
        below: Any = [(prefix, self)]
        if recurse:
            below = self.named_modules(prefix=prefix, remove_duplicate=once)
        for path, module in below:
            for name, value in getattr(module, table).items():
                if value is not None and not (once and id(value) in seen):
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once, in the order of their registration."""
        return (value for _, value in self._named("_parameters", recurse))

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[Any]:
        """(path, parameter), each parameter once, under the first of its names."""
        return self._named("_parameters", recurse, prefix, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once."""
        return (value for _, value in self._named("_buffers", recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[Any]:
        """(path, buffer), each once."""
        return self._named("_buffers", recurse, prefix, remove_duplicate)

    def get_submodule(self, target: str) -> "Module":
        """The module at a path such as "encoder.0"."""
        module: Any = self
        for name in filter(None, target.split(".")):
            if name not in getattr(module, "_modules", {}):
                raise AttributeError(f"{type(module).__name__} has no submodule {name!r}")
            module = module._modules[name]
        return module

    def set_submodule(self, target: str, module: "Module", strict: bool = False) -> None:
        """Put a module at a path such as "encoder.0"; strict: only where one is already."""
        path, _, name = target.rpartition(".")
        if not name:
            raise ValueError(f"set_submodule: {target!r} is no path to a submodule")
        if strict:
            self.get_submodule(target)
        if not isinstance(module, Module):
            raise TypeError(f"set_submodule: a Module is needed, got {type(module).__name__}")
        parent = self.get_submodule(path)
        if name not in parent._modules:
            parent.add_module(name, module)
        parent._modules[name] = module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path such as "encoder.0.weight"."""
        return self._found(target, "_parameters", "parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path such as "encoder.0.running_mean"."""
        return self._found(target, "_buffers", "buffer")

    def _found(self, target: str, table: str, kind: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if name not in getattr(module, table):
            raise AttributeError(f"{type(module).__name__} has no {kind} {name!r}")
        return getattr(module, table)[name]

    # all at once

    def apply(self: _M, function: Callable[["Module"], None]) -> _M:
        """Call `function` on every module, the innermost first."""
        for module in self.children():
            module.apply(function)
        function(self)
        return self

    def train(self: _M, mode: bool = True) -> _M:
        """Training behaviour (dropout, running statistics) on or off."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: mode must be True or False, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: _M) -> _M:
        """`train(False)`."""
        return self.train(False)

    def requires_grad_(self: _M, requires_grad: bool = True) -> _M:
        """Learn all parameters, or freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, or set them to 0."""
        for parameter in self.parameters():
            if set_to_none or not isinstance(parameter.grad, Tensor):
                parameter.grad = None
            else:
                parameter.grad.array[...] = 0

    def to(self: _M, *args: Any, device: Any = None, dtype: Any = None) -> _M:
        """Floating-point parameters and buffers in another dtype; the only device is "cpu"."""
        for arg in args:
            if is_device(arg):
                device = arg
            elif not isinstance(arg, bool):  # non_blocking: there is nothing to wait for
                dtype = arg
        check_device(device)
        if dtype is None:
            return self
        wanted = as_dtype(dtype)
        if wanted.kind != "f":
            raise TypeError(f"to: a module's dtype must be floating point, got {wanted}")
        for module in self.modules():
            for table in (module._parameters, module._buffers):
                for value in table.values():
                    if value is not None and value.array.dtype.kind == "f":
                        value.array = value.array.astype(wanted, copy=False)
                        if isinstance(value.grad, Tensor):
                            value.grad = Tensor(value.grad.array.astype(wanted))
        return self

    def float(self: _M) -> _M:
        """All floating-point state in float32."""
        return self.to(dtype=float32)

    def double(self: _M) -> _M:
        """All floating-point state in float64."""
        return self.to(dtype=float64)

    def half(self: _M) -> _M:
        """All floating-point state in float16."""
        return self.to(dtype=float16)

    def cpu(self: _M) -> _M:
        """Itself: the CPU is the only device."""
        return self

    # hooks and text

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call hook(module, args) before forward; a result replaces args.

        with_kwargs: hook(module, args, kwargs), whose result is (args, kwargs). prepend: before
        the hooks that are there already.
        """
        return self._add_hook(self._pre_hooks, hook, prepend, with_kwargs)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call hook(module, args, output) after forward; a result replaces the output.

        with_kwargs: hook(module, args, kwargs, output). prepend: before the hooks that are there.
        """
        return self._add_hook(self._post_hooks, hook, prepend, with_kwargs)

    @staticmethod
    def _add_hook(hooks: list[Any], hook: Any, prepend: bool, with_kwargs: bool) -> HookHandle:
        entry = _WithKeywords(hook) if with_kwargs else hook
        hooks.insert(0 if prepend else len(hooks), entry)
        return HookHandle(hooks, entry)

    def register_full_backward_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call hook(module, grad_input, grad_output) in backward, with tuples of gradients.

        None stands for an argument that takes none; a result replaces grad_input.
        """
        self._backward_hooks.append(hook)
        return HookHandle(self._backward_hooks, hook)

    def extra_repr(self) -> str:
        """The settings, as they stand in the module's representation."""
        return ""

    def __repr__(self) -> str:
        lines = [
            f"({name}): " + repr(module).replace("\n", "\n  ")
            for name, module in self.named_children()
        ]
        inside = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({inside})"
        body = "\n  ".join(([inside] if inside else []) + lines)
        return f"{type(self).__name__}(\n  {body}\n)"
