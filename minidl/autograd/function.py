"""Ops of your own: a forward and a hand-written backward, on the tape."""

from typing import Any

import numpy as np

from minidl import _tensor as engine
from minidl._apply import cast
from minidl._tensor import Node, Tensor, _mode
from minidl.autograd.modes import no_grad
from minidl.ops._op import Op, sum_to


class _FunctionOp(Op):
    """A user's Function as the tape sees it; saved holds its ctx."""

    @staticmethod
    def backward(dout, saved, needs):
        (ctx,) = saved
        several = isinstance(dout, list)
        douts = [
            Tensor(np.zeros(shape, dtype)) if d is None else _as_tensor(d)
            for d, (shape, dtype) in zip(dout if several else [dout], ctx._outputs)
        ]
        on_tape, name = _mode.grad, ctx._function.__name__
        parts = ctx._function.backward(ctx, *douts)
        parts = parts if isinstance(parts, tuple) else (parts,)
        if len(parts) < len(needs) or any(p is not None for p in parts[len(needs) :]):
            raise RuntimeError(
                f"{name}.backward: {len(needs)} inputs need as many gradients, "
                f"got {len(parts)}; return None for an input without one"
            )
        fitted = [
            _fitted(part, ctx._inputs[i], f"{name}.backward: gradient {i}") if need else None
            for i, (part, need) in enumerate(zip(parts, needs))
        ]
        return tuple(p if on_tape or p is None else p.array for p in fitted)


def _fitted(part: Any, wanted: tuple[Any, np.dtype], what: str) -> Tensor | None:
    """A gradient in its input's dtype, and summed to its shape if the input was broadcast."""
    shape, dtype = wanted
    if part is None:
        return None
    if not isinstance(part, Tensor):
        raise TypeError(f"{what} must be a Tensor or None, got {type(part).__name__}")
    if part.shape != shape:
        try:
            stretched = np.broadcast_shapes(shape, part.shape) == part.shape
        except ValueError:
            stretched = False
        if not stretched:
            raise RuntimeError(f"{what} has shape {part.shape}, but its input has {shape}")
        part = sum_to(part, shape)
    return cast(part, dtype)


def _as_tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(x)


class Context:
    """What a Function's forward leaves for its backward."""

    def __init__(self) -> None:
        self._tensors: tuple[Any, ...] = ()
        self._versions: tuple[int, ...] = ()
        self._constant: tuple[Tensor, ...] = ()
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors; a change of one in place before backward is noticed."""
        self._tensors = tensors
        self._versions = tuple(t._version if isinstance(t, Tensor) else 0 for t in tensors)

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Outputs that have no gradient."""
        self._constant = tensors

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        for t, version in zip(self._tensors, self._versions):
            if isinstance(t, Tensor) and t._version != version:
                raise RuntimeError(
                    "backward: a tensor given to save_for_backward was modified by an in-place "
                    "operation since; save a clone()"
                )
        return self._tensors


class Function:
    """An op of your own: subclass it, give it both directions, call `apply`.

        class Square(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            def backward(ctx, dout):
                (x,) = ctx.saved_tensors
                return 2 * x * dout

        y = Square.apply(x)

    Both get and return Tensors. backward returns one gradient (or None) an argument of forward; if
    it is written in tensor operations, the gradient can be differentiated again.
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        raise TypeError("Function: define a static forward(ctx, ...)")

    @staticmethod
    def backward(ctx: Any, *douts: Any) -> Any:
        raise TypeError("Function: define a static backward(ctx, ...)")

    @classmethod
    def _op(cls, outputs: int) -> type[Op]:
        names = {"outputs": tuple(f"out{i}" for i in range(outputs)), "saves": ("ctx",)}
        return type(cls.__name__, (_FunctionOp,), names)

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward off the tape, and put backward on it."""
        ctx: Any = Context()
        needs = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        ctx.needs_input_grad = needs
        with no_grad():
            outs = cls.forward(ctx, *args)
        several = isinstance(outs, tuple)
        wrong = [o for o in (outs if several else (outs,)) if not isinstance(o, Tensor)]
        if wrong:
            raise TypeError(
                f"{cls.__name__}.forward must return a Tensor or a tuple of Tensors, "
                f"got {type(wrong[0]).__name__}"
            )
        # detached: an input returned as it is shares its storage's version with the result
        results = [o.detach() for o in (outs if several else (outs,))]
        if _mode.grad and any(needs):
            constant = {id(t) for t in ctx._constant}
            given = outs if several else (outs,)
            # what was saved of the outputs must be the tensors on the tape
            swap = {id(o): r for o, r in zip(given, results)}
            ctx._tensors = tuple(swap.get(id(t), t) for t in ctx._tensors)
            ctx._function = cls
            ctx._outputs = [(r.shape, r.dtype) for r in results]
            ctx._inputs = [(a.shape, a.dtype) if need else None for a, need in zip(args, needs)]
            op = cls._op(len(results))
            parents = tuple((a.node or a) if need else None for a, need in zip(args, needs))
            node = Node(op, None, (ctx,), needs, parents)
            for observer in engine.observers:
                observer(node)
            for index, (result, original) in enumerate(zip(results, given)):
                if id(original) in constant or result.dtype.kind != "f":
                    continue
                pick = Node(engine.Pick, {"index": index}, (), (True,), (node,))
                result.node, result.requires_grad = pick, True
        return tuple(results) if several else results[0]
