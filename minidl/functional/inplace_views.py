"""Views that take the place of the tensor itself: `x.unsqueeze_(0)`, `x.t_()`, and their like."""

from collections.abc import Callable
from typing import Any

from minidl._inplace import will_record
from minidl._tensor import Tensor, method

__all__: list[str] = []


def _renewed(name: str) -> None:
    view: Callable[..., Tensor] = getattr(Tensor, name)
    title = f"{name}_"

    def change(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.node is None and will_record(self, ()):
            raise RuntimeError(
                f"{title}: a leaf that requires a gradient cannot be changed in place; "
                f"use {name}(), or no_grad()"
            )
        before = Tensor(self.array, self.requires_grad, self.node)  # what the view is a view of
        before.version, before.stamp, before.origin = self.version, self.stamp, self.origin
        out = view(before, *args, **kwargs)
        self.array, self.node, self.requires_grad = out.array, out.node, out.requires_grad
        self.version, self.stamp, self.origin = out.version, out.stamp, out.origin
        return self

    change.__name__ = change.__qualname__ = title
    change.__doc__ = f"`{name}`, in the tensor's own place."
    method(change)


for _name in ("squeeze", "swapaxes", "swapdims", "t", "transpose", "unsqueeze"):
    _renewed(_name)
