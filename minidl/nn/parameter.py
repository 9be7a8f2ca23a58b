"""Parameter: a tensor that a module learns."""

from typing import Any

import numpy as np

from minidl._tensor import Tensor


class Parameter(Tensor):
    """A leaf that requires a gradient, and that a Module finds by its type when it is assigned."""

    def __init__(self, data: Any = None, requires_grad: bool = True):
        data = np.zeros(0, np.float32) if data is None else data
        array = data.array if isinstance(data, Tensor) else np.asarray(data)
        super().__init__(array, requires_grad)
        if requires_grad and array.dtype.kind != "f":
            raise TypeError(
                f"Parameter: only floating point takes a gradient, got {array.dtype}; "
                "give requires_grad=False, or register a buffer"
            )

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Parameter":
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.array.copy(), self.requires_grad)
        return memo[id(self)]
