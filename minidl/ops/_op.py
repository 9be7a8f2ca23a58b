"""What an op is: a pair of pure functions on arrays, and what the engine must know of them.

    class Mul(Op):
        saves = ("x", "y")

        @staticmethod
        def forward(x, y):
            return x * y, (x, y)

        @staticmethod
        def backward(dout, saved, needs):
            x, y = saved
            return (dout * y if needs[0] else None, dout * x if needs[1] else None)

Arrays are positional, settings keyword-only and hashable. `forward` returns the output (or a tuple
of outputs) and what backward wants to see again; `backward` gets one gradient an output and returns
one an array, None where `needs` is False. Neither writes into its arguments.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from minidl.typing import Array

REGISTRY: dict[str, type["Op"]] = {}
"""Every op by its class's name."""

empty = np.empty
"""The one place from which ops take new arrays: a captured step hands out kept buffers here."""


class Op:
    """Base of all ops; a subclass is never instantiated.

    saves: the names of what `forward` saves, in order. A name of an array argument or of an output
    is that value; any other name is a constant (a mask, a shape, an index). An elementary op saves
    no other array, and its backward uses only operations that arrays and Tensors share, so that it
    can be differentiated again; a fused op has a `composite` in elementary ops instead.
    """

    saves: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[tuple[str, ...]] = ("out",)
    view: ClassVar[bool] = False
    """True: the output may share the memory of the first array."""
    composite: ClassVar[Callable[..., Any] | None] = None

    arrays: ClassVar[tuple[str, ...]]
    settings: ClassVar[tuple[str, ...]]
    saved_inputs: ClassVar[tuple[int, ...]]
    saves_output: ClassVar[bool]
    watches: ClassVar[bool]  # whether a change in place could falsify what was saved

    forward: ClassVar[Callable[..., Any]]
    backward: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls) -> None:
        if "forward" not in cls.__dict__:
            return  # a family's base
        code = cls.forward.__code__  # type: ignore[attr-defined]
        count = code.co_argcount
        cls.arrays = code.co_varnames[:count]
        cls.settings = code.co_varnames[count : count + code.co_kwonlyargcount]
        cls.saved_inputs = tuple(cls.arrays.index(n) for n in cls.saves if n in cls.arrays)
        cls.saves_output = any(name in cls.outputs for name in cls.saves)
        cls.watches = bool(cls.saved_inputs) or cls.saves_output
        if cls.__name__ in REGISTRY:
            raise TypeError(f"op {cls.__name__} is defined twice: give one of them another name")
        REGISTRY[cls.__name__] = cls

    @classmethod
    def flops(cls, *shapes: tuple[int, ...]) -> int:
        """Floating-point operations of forward; one an output element unless a class says more."""
        return int(np.prod(np.broadcast_shapes(*shapes), dtype=np.int64))


def sum_to(gradient: Any, shape: tuple[int, ...]) -> Any:
    """Sum `gradient` over the axes that broadcasting an array of `shape` added or stretched."""
    if gradient.shape == shape:
        return gradient
    added = gradient.ndim - len(shape)
    stretched = tuple(
        added + i for i, n in enumerate(shape) if n == 1 and gradient.shape[added + i] != 1
    )
    axes = tuple(range(added)) + stretched
    return gradient.sum(axis=axes, keepdims=True).reshape(shape)


def shape_of(x: Array | float) -> tuple[int, ...]:
    """The shape of an array; () for a Python scalar."""
    return getattr(x, "shape", ())
