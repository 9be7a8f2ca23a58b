"""Full backward hooks: a module's inputs and outputs pass a boundary that sees their gradients."""

from collections.abc import Callable, Sequence
from typing import Any

from minidl._tensor import Tensor
from minidl.autograd import Function


class _Boundary(Function):
    """The same values; backward shows the gradients to `tell`, which may answer with others."""

    @staticmethod
    def forward(ctx, tell, *tensors):
        ctx.tell = tell
        return tuple(t.detach() for t in tensors)

    @staticmethod
    def backward(ctx, *douts):
        answer = ctx.tell(douts)
        return (None, *(douts if answer is None else answer))


class Watch:
    """One call of a module with full backward hooks: hook(module, grad_input, grad_output)."""

    def __init__(self, module: Any, hooks: Sequence[Callable[..., Any]]):
        self.module, self.hooks = module, list(hooks)
        self.grad_output: tuple[Any, ...] = ()
        self.count = 0  # positional arguments
        self.places: list[int] = []  # those of them that take a gradient

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, tensors with a gradient behind the boundary."""
        self.count = len(args)
        return self._through(args, self._on_input, self.places)

    def outputs(self, out: Any) -> Any:
        """The output (a tensor, or a tuple or list of them) behind the boundary."""
        several = isinstance(out, (tuple, list))
        outs = tuple(out) if several else (out,)
        passed = self._through(outs, self._on_output, [])
        return type(out)(passed) if several else passed[0]

    def _through(self, values: tuple[Any, ...], tell: Any, places: list[int]) -> tuple[Any, ...]:
        places += [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad]
        if not places:
            return values
        passed = iter(_Boundary.apply(tell, *[values[i] for i in places]))
        return tuple(next(passed) if i in places else v for i, v in enumerate(values))

    def _on_output(self, grads: tuple[Any, ...]) -> None:
        self.grad_output = grads
        if not self.places:  # no argument takes a gradient: nothing would come after
            self._call((None,) * self.count)

    def _on_input(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        by_place = dict(zip(self.places, grads))
        grads = self._call(tuple(by_place.get(i) for i in range(self.count)))
        return tuple(grads[i] for i in self.places)

    def _call(self, grad_input: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.hooks:
            answer = hook(self.module, grad_input, self.grad_output)
            if answer is not None:
                grad_input = answer if isinstance(answer, tuple) else (answer,)
                if len(grad_input) != self.count:
                    raise RuntimeError(
                        f"backward hook of {type(self.module).__name__}: it must return one "
                        f"gradient an input, {self.count}, or None; got {len(grad_input)}"
                    )
        return grad_input
