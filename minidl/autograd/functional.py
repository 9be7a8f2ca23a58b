"""Derivatives of functions of tensors, with torch.autograd.functional's names and arguments.

    jacobian(func, inputs)      all d out_i / d in_j, one backward a row
    hessian(func, inputs)       second derivatives of a scalar
    vjp, jvp                    v^T J and J v
    vhp, hvp                    v^T H and H v, without H

func takes Tensors and returns a Tensor, or a tuple of them; `inputs` is a Tensor or a tuple.
Results are off the tape unless create_graph=True. strict=True: an output that does not depend on an
input is an error instead of zeros. `minidl.func` has the same as transformations of functions, for
nested arguments.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl import functional as F
from minidl._tensor import Tensor, _mode
from minidl.autograd._pull import Pull, Push, own, tensors_only, zeros_like
from minidl.autograd.modes import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


class _Call:
    """func at inputs, recorded; and how results are handed back."""

    def __init__(self, name: str, func: Callable[..., Any], inputs: Any, create_graph: bool):
        self.name, self.create_graph = name, create_graph
        self.single_input = isinstance(inputs, Tensor)
        given = [inputs] if self.single_input else list(inputs)
        tensors_only(name, "an input", given)
        before, _mode.grad = _mode.grad, create_graph
        try:
            self.inputs = [own(x) for x in given]
        finally:
            _mode.grad = before
        with enable_grad():
            outputs = func(*self.inputs)
        self.single_output = isinstance(outputs, Tensor)
        self.outputs: list[Tensor] = [outputs] if self.single_output else list(outputs)
        tensors_only(name, "an output", self.outputs)
        self.pull = Pull(self.outputs, self.inputs, create_graph)
        self.pull.hangs = create_graph

    def scalar(self) -> Tensor:
        if not self.single_output or self.outputs[0].array.size != 1:
            raise RuntimeError(f"{self.name}: func must return one Tensor with one element")
        return self.outputs[0]

    def vectors(self, v: Any, like: Sequence[Tensor], what: str) -> list[Tensor]:
        """v as a list of Tensors of the shapes of `like`; 1 if v is None and `like` one number."""
        if v is None:
            if len(like) != 1 or like[0].array.size != 1:
                raise RuntimeError(
                    f"{self.name}: v may be left out only where {what} is one element"
                )
            return [Tensor(np.ones_like(like[0].array))]
        listed = [v] if isinstance(v, Tensor) else list(v)
        if [x.shape for x in listed] != [x.shape for x in like]:
            raise RuntimeError(
                f"{self.name}: v must have the shapes {[x.shape for x in like]} of {what}, got "
                f"{[x.shape for x in listed]}"
            )
        return listed

    def pulled(self, cotangents: Sequence[Tensor], keep: bool, strict: bool) -> list[Tensor]:
        """The gradients, with zeros where there is none."""
        if strict and not all(out.requires_grad for out in self.outputs):
            raise RuntimeError(
                f"{self.name}: an output does not depend on the inputs (strict=True)"
            )
        parts = self.pull.back(cotangents, keep, self.create_graph)
        if strict and any(part is None for part in parts):
            at = parts.index(None)
            raise RuntimeError(
                f"{self.name}: the output does not depend on input {at} (strict=True)"
            )
        return [zeros_like(x) if part is None else part for part, x in zip(parts, self.inputs)]

    def as_outputs(self, parts: Sequence[Tensor]) -> Any:
        parts = parts if self.create_graph else [part.detach() for part in parts]
        return parts[0] if self.single_output else tuple(parts)

    def as_inputs(self, parts: Sequence[Tensor]) -> Any:
        parts = parts if self.create_graph else [part.detach() for part in parts]
        return parts[0] if self.single_input else tuple(parts)


def vjp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(outputs, v^T J): one backward started from v, which has the outputs' shapes."""
    call = _Call("vjp", func, inputs, create_graph)
    v = call.vectors(v, call.outputs, "the output")
    parts = call.pulled(v, False, strict)
    return call.as_outputs(call.outputs), call.as_inputs(parts)


def jvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(outputs, J v), v of the inputs' shapes: exact, by two backwards (v^T J is linear in v)."""
    call = _Call("jvp", func, inputs, create_graph)
    v = call.vectors(v, call.inputs, "the input")
    parts = Push(call.pull).forward(v, "jvp" if strict else "")
    return call.as_outputs(call.outputs), call.as_outputs(parts)


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    *,
    strategy: str = "reverse-mode",
) -> Any:
    """J[i][j] of shape output i's + input j's; without the index where there is one only.

    strategy: "reverse-mode" takes a backward for each element of the outputs, "forward-mode" for
    each element of the inputs.
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ValueError(
            f"jacobian: strategy must be 'reverse-mode' or 'forward-mode', got {strategy!r}"
        )
    call = _Call("jacobian", func, inputs, create_graph)
    if strategy == "forward-mode":
        blocks = jacobian_columns(call.pull, "jacobian" if strict else "")
    else:
        blocks = jacobian_rows(call.pull, "jacobian" if strict else "", create_graph)
    rows = [call.as_inputs(block) for block in blocks]
    return rows[0] if call.single_output else tuple(rows)


def jacobian_rows(pull: Pull, strict: str = "", create_graph: bool | None = None) -> Any:
    """J[i][j] as Tensors, a backward for each element of the outputs."""
    blocks = []
    for i, out in enumerate(pull.outputs):
        alone = Pull([out], pull.inputs, False)
        alone.outside, alone.hangs = True, pull.hangs
        rows: list[list[Any]] = [[] for _ in pull.inputs]
        for k in range(out.array.size):
            parts = alone.back([_unit(out, k)], True, create_graph)
            if strict and any(part is None for part in parts):
                raise RuntimeError(
                    f"{strict}: output {i} does not depend on input {parts.index(None)} "
                    "(strict=True)"
                )
            for row, part, x in zip(rows, parts, pull.inputs):
                row.append(zeros_like(x) if part is None else part)
        blocks.append(
            [
                F.stack(row).reshape(out.shape + x.shape)
                if row
                else Tensor(np.zeros(out.shape + x.shape, x.dtype))
                for row, x in zip(rows, pull.inputs)
            ]
        )
    return blocks


def jacobian_columns(pull: Pull, strict: str = "") -> Any:
    """J[i][j] as Tensors, a product J v for each element of the inputs."""
    blocks: list[list[Any]] = [[] for _ in pull.outputs]
    push = Push(pull)
    for j, x in enumerate(pull.inputs):
        columns: list[list[Tensor]] = [[] for _ in pull.outputs]
        for k in range(x.array.size):
            tangents = [zeros_like(other) for other in pull.inputs]
            tangents[j] = _unit(x, k)
            for column, part in zip(columns, push.forward(tangents, strict)):
                column.append(part)
        for block, column, out in zip(blocks, columns, pull.outputs):
            shape = out.shape + x.shape
            block.append(
                F.stack(column, -1).reshape(shape) if column else Tensor(np.zeros(shape, x.dtype))
            )
    return blocks


def _unit(like: Tensor, k: int) -> Tensor:
    array = np.zeros(like.array.size, like.dtype)
    array[k] = 1
    return Tensor(array.reshape(like.shape))


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    *,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """H[i][j] = d^2 func / d input_i d input_j, for a func that returns one element."""
    single = isinstance(inputs, Tensor)

    def gradient(*given: Tensor) -> tuple[Tensor, ...]:
        call = _Call("hessian", func, given, True)
        call.scalar()
        return tuple(call.pulled([Tensor(np.ones_like(call.outputs[0].array))], True, strict))

    given = (inputs,) if single else tuple(inputs)
    blocks = jacobian(gradient, given, create_graph, strict, strategy=outer_jacobian_strategy)
    return blocks[0][0] if single else blocks


def vhp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(output, v^T H) of a func that returns one element, by two backwards."""
    return _second_product("vhp", func, inputs, v, create_graph, strict)


def hvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(output, H v): the same as `vhp`, for H is symmetric where func is twice continuous."""
    return _second_product("hvp", func, inputs, v, create_graph, strict)


def _second_product(name, func, inputs, v, create_graph, strict):
    call = _Call(name, func, inputs, create_graph)
    out = call.scalar()
    v = call.vectors(v, call.inputs, "the input")
    slopes = call.pull.back([Tensor(np.ones_like(out.array))], True, True)
    pairs = [(g, w) for g, w in zip(slopes, v) if g is not None and g.requires_grad]
    if strict and len(pairs) < len(slopes):
        raise RuntimeError(f"{name}: the gradient does not depend on an input (strict=True)")
    again = Pull([g for g, _ in pairs], call.inputs, False)
    again.outside = True
    parts = again.back([w for _, w in pairs], True, create_graph)
    full = [zeros_like(x) if part is None else part for part, x in zip(parts, call.inputs)]
    return call.as_outputs([out]), call.as_inputs(full)
