"""What a module's state is, by path: read out, put back, and what else a module adds to it."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from minidl._tensor import Tensor

EXTRA = "_extra_state"


class KeyReport(NamedTuple):
    """What load_state_dict(strict=False) could not match."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class ModuleState:
    """The part of Module that reads and writes its state."""

    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]
    _transient: set[str]

    def get_extra_state(self) -> Any:
        """State beyond parameters and buffers: a module that has some returns it here.

        It stands in the state_dict under "_extra_state"; set_extra_state gets it back.
        """
        raise RuntimeError(f"{type(self).__name__} has no extra state: define get_extra_state")

    def set_extra_state(self, state: Any) -> None:
        """Take back what get_extra_state gave."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: define set_extra_state")

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> "OrderedDict[str, Any]":
        """Parameters and persistent buffers by path, on the same memory, and extra state.

        They are off the tape, unless keep_vars: then they are the parameters themselves.
        """
        state: OrderedDict[str, Any] = OrderedDict()
        for path, value in self._state(prefix):
            state[path] = value if keep_vars else value.detach()
        for path, module in self._with_extra("get_extra_state", prefix):
            state[path] = module.get_extra_state()
        return state

    def _state(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        for name, value in self._parameters.items():
            if value is not None:
                yield prefix + name, value
        for name, value in self._buffers.items():
            if value is not None and name not in self._transient:
                yield prefix + name, value
        for name, module in self._modules.items():
            if module is not None:  # a module at two places is told twice, as in PyTorch
                yield from module._state(f"{prefix}{name}.")

    def _with_extra(self, method: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """(path of its extra state, module) of all modules that define `method`."""
        if getattr(type(self), method) is not getattr(ModuleState, method):
            yield prefix + EXTRA, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module._with_extra(method, f"{prefix}{name}.")

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> KeyReport:
        """Copy values (Tensors or arrays) into the state, by path.

        Every missing and unexpected key and every shape that differs is told in one error, before
        anything is changed; strict=False allows missing and unexpected keys and returns them.
        """
        own = dict(self._state())
        extra = dict(self._with_extra("set_extra_state"))
        arrays = {
            key: value.array if isinstance(value, Tensor) else np.asarray(value)
            for key, value in state_dict.items()
            if key not in extra
        }
        missing = [key for key in own if key not in arrays]
        missing += [key for key in extra if key not in state_dict]
        unexpected = [key for key in arrays if key not in own]
        shapes = [
            f"{key}: the file has {arrays[key].shape}, the model {value.shape}"
            for key, value in own.items()
            if key in arrays and arrays[key].shape != value.shape
        ]
        faults = [f"different shapes: {'; '.join(shapes)}"] if shapes else []
        if strict and missing:
            faults.append(f"missing keys: {', '.join(missing)}")
        if strict and unexpected:
            faults.append(f"unexpected keys: {', '.join(unexpected)}")
        if faults:
            raise RuntimeError(
                f"load_state_dict of {type(self).__name__}: {'. '.join(faults)}. Nothing was "
                "changed; build the model with the settings of the saved one, or use strict=False"
            )
        for key, value in own.items():
            if key in arrays:
                value.array[...] = arrays[key]
                value.version[0] += 1
        for key, module in extra.items():
            if key in state_dict:
                module.set_extra_state(state_dict[key])
        return KeyReport(missing, unexpected)
