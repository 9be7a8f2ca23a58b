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
of outputs) and what backward wants to see again; `backward` gets the gradient of the output (a
tuple of gradients, None where unused, if there are several), the settings once more, and returns
one gradient an array, None where `needs` is False. Neither writes into its arguments.

A Python scalar may stand in for an array: it takes the other array's dtype and has no gradient.
"""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from minidl.ops._memory import empty as empty
from minidl.ops._memory import set_allocator as set_allocator
from minidl.ops._sums import total
from minidl.typing import Array

REGISTRY: dict[str, type["Op"]] = {}
"""Every op of this package by its class's name."""

class Op:
    """Base of all ops; a subclass is never instantiated.

    saves: the names of what `forward` saves, in order. A name of an array argument or of an output
    is that value; any other name is a constant (a mask, a shape, an index). An *elementary* op
    saves no other array, and its backward uses only operations that arrays and Tensors share
    (`_math`), so that the gradient can be differentiated again. A *fused* op may save what it likes
    besides all of its arrays, and has a `composite` twin in elementary ops: the oracle of its test,
    and what is differentiated in its place where a second derivative is asked for.

        composite(F, *tensors, **settings)      F: the functions of `minidl.functional`
    """

    saves: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[tuple[str, ...]] = ("out",)
    constants: ClassVar[tuple[str, ...]] = ()  # float arrays without a gradient: class weights …
    view: ClassVar[bool] = False  # the output may share the memory of the first array
    to_float: ClassVar[bool] = False  # integers become the default float first, as in PyTorch
    differentiable: ClassVar[bool] = True
    crossed: ClassVar[bool] = False  # each of two arrays is saved for the other's gradient alone,
    # so the engine leaves only its shape where the other needs none
    composite: ClassVar[Callable[..., Any] | None] = None

    # derived from the above
    arrays: ClassVar[tuple[str, ...]]
    settings: ClassVar[tuple[str, ...]]
    saved_inputs: ClassVar[tuple[int, ...]]
    saves_output: ClassVar[bool]
    watches: ClassVar[bool]  # a change in place could falsify what was saved
    takes_keep: ClassVar[bool]  # forward is told whether anything need be saved

    forward: ClassVar[Callable[..., Any]]
    backward: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls) -> None:
        if "forward" not in cls.__dict__:
            return  # a family's base
        code = cls.forward.__code__  # type: ignore[attr-defined]
        count, keywords = code.co_argcount, code.co_kwonlyargcount
        cls.arrays = code.co_varnames[:count]
        if code.co_flags & inspect.CO_VARARGS:  # forward(*x): x0, x1, ...
            rest = code.co_varnames[count + keywords]
            cls.arrays += tuple(f"{rest}{i}" for i in range(64))
        cls.settings = tuple(n for n in code.co_varnames[count : count + keywords] if n != "keep")
        cls.takes_keep = "keep" in code.co_varnames[count : count + keywords]
        cls.saved_inputs = tuple(cls.arrays.index(n) for n in cls.saves if n in cls.arrays)
        cls.saves_output = any(name in cls.outputs for name in cls.saves)
        cls.watches = bool(cls.saved_inputs) or cls.saves_output
        if not cls.__module__.startswith("minidl.ops"):
            return
        if cls.__name__ in REGISTRY:
            raise TypeError(f"op {cls.__name__} is defined twice: give one of them another name")
        REGISTRY[cls.__name__] = cls

    @classmethod
    def flops(cls, *shapes: tuple[int, ...], **settings: Any) -> int:
        """Floating-point operations of forward, from the arrays' shapes and the settings.

        One an output element of broadcast arrays, unless a class says otherwise.
        """
        return int(np.prod(np.broadcast_shapes(*shapes), dtype=np.int64))

    @classmethod
    def flops_backward(cls, *shapes: tuple[int, ...], **settings: Any) -> int:
        """Those of backward with all gradients: as many as forward's for each of two arrays.

        A product has one product for each gradient; an op of one array has one derivative.
        """
        if not cls.differentiable:
            return 0
        arrays = sum(1 for shape in shapes if shape)
        return min(2, arrays) * cls.flops(*shapes, **settings)

    @classmethod
    def bytes(cls, *arrays: Array) -> int:
        """Bytes that forward must read and write: each array once, and as much as the largest.

        None for a view.
        """
        if cls.view:
            return 0
        sizes = [array.nbytes for array in arrays]
        return sum(sizes) + max(sizes, default=0)

    @classmethod
    def bytes_backward(cls, *arrays: Array) -> int:
        """Bytes that backward must move: the incoming gradient, what was saved, all gradients."""
        if cls.view or not cls.differentiable:
            return 0
        floats = [array.nbytes for array in arrays if array.dtype.kind == "f"]
        largest = max(floats, default=0)
        saved = sum(arrays[i].nbytes for i in cls.saved_inputs if i < len(arrays))
        return largest + saved + cls.saves_output * largest + sum(floats)


def sum_to(gradient: Any, shape: tuple[int, ...]) -> Any:
    """Sum `gradient` over the axes that broadcasting an array of `shape` added or stretched."""
    if gradient.shape == shape:
        return gradient
    added = gradient.ndim - len(shape)
    stretched = tuple(
        added + i for i, n in enumerate(shape) if n == 1 and gradient.shape[added + i] != 1
    )
    axes = tuple(range(added)) + stretched
    if isinstance(gradient, np.ndarray):
        return total(gradient, axes, True).reshape(shape)
    return gradient.sum(axis=axes, keepdims=True).reshape(shape)


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of what an op saved: an array, a Python scalar, or a shape left in its place."""
    return x.shape if type(x) is np.ndarray else x if type(x) is tuple else getattr(x, "shape", ())
