"""Gradients: what to record, how to ask for them, how to check them, and ops of your own.

    grad, backward                     gradients of tensors in tensors
    no_grad, enable_grad, ...          what is recorded, as context manager or decorator
    Function                           an op with a hand-written backward
    detect_anomaly                     find the op that made a NaN
    gradcheck, gradgradcheck           compare with finite differences
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl import _tensor as engine
from minidl import _walk
from minidl._tensor import Node, Tensor, _mode
from minidl._walk import backward, grad
from minidl.ops._op import Op

__all__ = [
    "Function",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
]


def is_grad_enabled() -> bool:
    """Whether ops are recorded in this thread."""
    return _mode.grad


class set_grad_enabled:
    """Record ops, or not: `with set_grad_enabled(False): ...`, or as a decorator."""

    def __init__(self, mode: bool):
        self._wanted = mode
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(_mode.grad)
        _mode.grad = self._wanted

    def __exit__(self, *_: Any) -> None:
        _mode.grad = self._before.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with set_grad_enabled(self._wanted):
                return function(*args, **kwargs)

        return wrapped


class _Switch(set_grad_enabled):
    """A mode without an argument: `no_grad()`, and as a decorator also plain `@no_grad`."""

    wanted: bool

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)

    def __init__(self, function: Callable[..., Any] | None = None):
        super().__init__(self.wanted)


class no_grad(_Switch):
    """Record nothing in this thread."""

    wanted = False


class enable_grad(_Switch):
    """Record again, inside no_grad."""

    wanted = True


class inference_mode(set_grad_enabled):
    """Record nothing in this thread; the same as no_grad here, for tensors carry no other cost."""

    def __init__(self, mode: bool = True):
        super().__init__(not mode)


class detect_anomaly:
    """Within it, a backward that makes a NaN raises, naming the op and the line that called it."""

    def __init__(self, check_nan: bool = True):
        self._check = check_nan

    def __enter__(self) -> None:
        engine.observers.append(_note_line)
        self._before, _walk.check_for_nan = _walk.check_for_nan, self._check

    def __exit__(self, *_: Any) -> None:
        engine.observers.remove(_note_line)
        _walk.check_for_nan = self._before


_OWN_FILES = __file__.rsplit("autograd", 1)[0]


def _note_line(node: Node) -> None:
    import traceback

    for frame in reversed(traceback.extract_stack(limit=24)):
        if not frame.filename.startswith(_OWN_FILES):
            node.where = f"{frame.filename}:{frame.lineno}: {frame.line}"
            return


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
        on_tape = _mode.grad
        parts = ctx._function.backward(ctx, *douts)
        parts = parts if isinstance(parts, tuple) else (parts,)
        if len(parts) < len(needs):
            raise RuntimeError(
                f"{ctx._function.__name__}.backward: {len(needs)} inputs need as many gradients, "
                f"got {len(parts)}; return None for an input without one"
            )
        return tuple(
            None if p is None or not need else (p if on_tape else p.array)
            for p, need in zip(parts, needs)
        )


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
        results = [
            Tensor(o.array) if isinstance(o, Tensor) else o for o in (outs if several else (outs,))
        ]
        if _mode.grad and any(needs):
            constant = {id(t) for t in ctx._constant}
            given = outs if several else (outs,)
            # what was saved of the outputs must be the tensors on the tape
            swap = {id(o): r for o, r in zip(given, results)}
            ctx._tensors = tuple(swap.get(id(t), t) for t in ctx._tensors)
            ctx._function = cls
            ctx._outputs = [(r.shape, r.dtype) for r in results]
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


def gradcheck(
    function: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare gradients with central differences, along every coordinate of every input.

        (f(x + eps e_i) - f(x - eps e_i)) / (2 eps)  against  d f / d x_i

    function: of Tensors, returns a Tensor or a tuple; inputs: float64 Tensors, those that require a
    gradient are checked. Raises RuntimeError with the worst difference, or returns False.
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [t for t in inputs if isinstance(t, Tensor) and t.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient")
    for t in checked:
        if t.dtype != np.float64:
            raise ValueError(f"gradcheck: differences need float64 inputs, got {t.dtype}")
    for which, out in enumerate(_outputs(function(*inputs))):
        rng = np.random.default_rng(which)
        weights = rng.standard_normal(out.shape)
        analytic = grad(out, checked, Tensor(weights), allow_unused=True)
        for i, t in enumerate(checked):
            numeric = _differences(function, inputs, t, which, weights, eps)
            part = analytic[i]
            known = np.zeros_like(t.array) if part is None else part.array
            if not np.allclose(known, numeric, rtol=rtol, atol=atol, equal_nan=True):
                if not raise_exception:
                    return False
                worst = np.max(np.abs(known - numeric))
                raise RuntimeError(
                    f"gradcheck: output {which}, input {i}: gradient and difference quotient "
                    f"differ by {worst:.3g} (rtol {rtol:g}, atol {atol:g})"
                )
    return True


def gradgradcheck(
    function: Callable[..., Any], inputs: Any, seed: int = 0, **tolerances: Any
) -> bool:
    """`gradcheck` of the gradient itself, started from a random vector."""
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [t for t in inputs if isinstance(t, Tensor) and t.requires_grad]
    rng = np.random.default_rng(seed)
    starts = [
        Tensor(rng.standard_normal(out.shape), requires_grad=True)
        for out in _outputs(function(*inputs))
    ]

    def gradient(*arguments: Any) -> Any:
        given = arguments[: len(inputs)]
        outs = _outputs(function(*given))
        wanted = [t for t in given if isinstance(t, Tensor) and t.requires_grad]
        parts = grad(outs, wanted, arguments[len(inputs) :], create_graph=True, allow_unused=True)
        return tuple(p for p in parts if p is not None and p.requires_grad)

    if not checked:
        raise ValueError("gradgradcheck: no input requires a gradient")
    return gradcheck(gradient, (*inputs, *starts), **tolerances)


def _outputs(outs: Any) -> list[Tensor]:
    outs = outs if isinstance(outs, (tuple, list)) else [outs]
    return [o for o in outs if isinstance(o, Tensor) and o.requires_grad]


def _differences(function, inputs, t, which, weights, eps):
    # values are changed behind the tape's back: the storage's version stays as it was
    numeric = np.zeros_like(t.array)
    values = t.array
    for place in np.ndindex(values.shape):
        pair = []
        for step in (eps, -eps):
            t.array = values.copy()
            t.array[place] += step
            pair.append((_outputs(function(*inputs))[which].array * weights).sum())
        numeric[place] = (pair[0] - pair[1]) / (2 * eps)
    t.array = values
    return numeric
