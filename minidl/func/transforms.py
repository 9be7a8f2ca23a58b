"""Derivatives as functions of functions."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl._tensor import Tensor, _mode
from minidl.autograd._pull import Pull, Push, flatten, own, tensors_only, zeros_like
from minidl.autograd.functional import jacobian_columns, jacobian_rows
from minidl.autograd.modes import enable_grad

Argnums = int | Sequence[int]


class _Run:
    """A function at its arguments, of which some are replaced by inputs of our own and recorded."""

    def __init__(
        self, name: str, func: Callable[..., Any], args: Any, argnums: Argnums, has_aux: bool,
        kwargs: Any = None,
    ):  # fmt: skip
        single = isinstance(argnums, int)
        numbers: list[int] = [argnums] if single else list(argnums)  # type: ignore[list-item,arg-type]
        for number in numbers:
            if not -len(args) <= number < len(args):
                raise ValueError(
                    f"{name}: argnums {number} of a function that got {len(args)} positional "
                    "arguments"
                )
        numbers = [number % len(args) for number in numbers]
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"{name}: argnums {argnums} names an argument twice")
        chosen = args[numbers[0]] if single else tuple(args[number] for number in numbers)
        leaves, self.as_inputs = flatten(chosen)
        tensors_only(name, "an argument", leaves)
        self.recording = _mode.grad
        self.inputs = [own(leaf) for leaf in leaves]
        replaced = self.as_inputs(self.inputs)
        full = list(args)
        for number, value in zip(numbers, (replaced,) if single else replaced):
            full[number] = value
        with enable_grad():
            out = func(*full, **(kwargs or {}))
        self.aux: Any = None
        if has_aux:
            if not isinstance(out, tuple) or len(out) != 2:
                raise TypeError(
                    f"{name}: with has_aux the function must return (output, aux), got "
                    f"{type(out).__name__}"
                )
            out, aux = out
            kept, rebuild = flatten(aux)
            self.aux = rebuild([a.detach() if isinstance(a, Tensor) else a for a in kept])
        outputs, self.as_outputs = flatten(out)
        tensors_only(name, "an output", outputs)
        self.pull = Pull(outputs, self.inputs, self.recording)

    def value(self) -> Any:
        return self.as_outputs([self.pull.value(out) for out in self.pull.outputs])

    def filled(self, parts: Sequence[Any]) -> list[Tensor]:
        return [zeros_like(x) if part is None else part for part, x in zip(parts, self.inputs)]


def grad_and_value(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns (gradient, value) of a scalar function; see `grad`.

    With has_aux (gradient, (value, aux)).
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        run = _Run("grad", func, args, argnums, has_aux, kwargs)
        outputs = run.pull.outputs
        if len(outputs) != 1 or outputs[0].ndim:
            raise RuntimeError(
                "grad: the function must return one 0-d tensor, got "
                f"{[out.shape for out in outputs]}; take .sum() or .mean(), or use jacrev"
            )
        parts = run.filled(run.pull.back([Tensor(np.ones_like(outputs[0].array))], False))
        gradient, value = run.as_inputs(parts), run.value()
        return gradient, ((value, run.aux) if has_aux else value)

    return wrapper


def grad(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns the gradient of a scalar function in its argument `argnums`.

    argnums: a number, or several, which give a tuple. The gradient has the argument's structure;
    zeros where the value does not depend on it. has_aux: func returns (value, aux), the result is
    (gradient, aux).
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        gradient, rest = both(*args, **kwargs)
        return (gradient, rest[1]) if has_aux else gradient

    return wrapper


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """(output, pull), or (output, pull, aux): pull(v) is v^T J, a tuple with an entry a primal.

    pull may be called any number of times; v has the output's structure and shapes.
    """
    run = _Run("vjp", func, primals, range(len(primals)), has_aux)

    def pull(cotangents: Any) -> tuple[Any, ...]:
        leaves = _matching("vjp", cotangents, run.pull.outputs, "cotangents", "output")
        return run.as_inputs(run.filled(run.pull.back(leaves, True)))

    return (run.value(), pull, run.aux) if has_aux else (run.value(), pull)


def jvp(
    func: Callable[..., Any], primals: Any, tangents: Any, *, has_aux: bool = False
) -> tuple[Any, ...]:
    """(output, J v), or (output, J v, aux); primals and tangents are tuples of equal structure.

    Exact, but not by forward rules: v^T J is linear in v, so its derivative in v gives J v. That
    takes two backwards through the function, where a forward mode would take one pass.
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError("jvp: primals and tangents must be tuples, one entry an argument")
    run = _Run("jvp", func, tuple(primals), range(len(primals)), has_aux)
    leaves = _matching("jvp", tuple(tangents), run.inputs, "tangents", "primals")
    pushed = run.as_outputs(Push(run.pull).forward(leaves))
    return (run.value(), pushed, run.aux) if has_aux else (run.value(), pushed)


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """(output, push): push(*tangents) is J v at these primals; func itself runs only once.

    Worth it where many products with one J are wanted; see `jvp` for how each is made.
    """
    run = _Run("linearize", func, primals, range(len(primals)), False)

    def push(*tangents: Any) -> Any:
        leaves = _matching("linearize", tangents, run.inputs, "tangents", "primals")
        return run.as_outputs(Push(run.pull).forward(leaves))

    return run.value(), push


def _matching(name: str, tree: Any, like: Sequence[Tensor], what: str, whose: str) -> list[Tensor]:
    leaves, _ = flatten(tree)
    tensors_only(name, f"one of the {what}", leaves)
    if [x.shape for x in leaves] != [x.shape for x in like]:
        raise ValueError(
            f"{name}: {what} must have the {whose}' shapes {[x.shape for x in like]}, got "
            f"{[x.shape for x in leaves]}"
        )
    return leaves


def jacrev(
    func: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns the Jacobian by rows: one backward an element of the output.

    For each output the structure of the argument (a tuple, if argnums are several), each leaf of
    shape output's + argument's. has_aux: (jacobian, aux).
    """
    return _jacobian("jacrev", func, argnums, has_aux, jacobian_rows)


def jacfwd(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """`jacrev`'s result by columns: a product J v (see `jvp`) an element of the argument.

    It pays where the output is larger than the argument.
    """
    return _jacobian("jacfwd", func, argnums, has_aux, jacobian_columns)


def _jacobian(
    name: str, func: Callable[..., Any], argnums: Argnums, has_aux: bool, blocks_of: Any
) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        run = _Run(name, func, args, argnums, has_aux, kwargs)
        rows = [run.as_inputs(block) for block in blocks_of(run.pull)]
        jacobian = run.as_outputs(rows)
        return (jacobian, run.aux) if has_aux else jacobian

    return wrapper


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that returns all second derivatives: jacrev of jacrev.

    Of a scalar function of x (n,) it is the symmetric matrix (n, n); for several argnums a tuple of
    tuples.
    """
    return jacrev(jacrev(func, argnums), argnums)


def hvp(func: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """(value, H v) of a scalar function, by two backwards and without H.

    primals, tangents: tuples with an entry an argument, of equal structure; so is H v.
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError("hvp: primals and tangents must be tuples, one entry an argument")
    primals = tuple(primals)
    every = range(len(primals))
    leaves, _ = flatten(primals)
    directions = _matching("hvp", tuple(tangents), leaves, "tangents", "primals")
    value: list[Any] = []

    def slope(*arguments: Any) -> Any:
        """v . gradient, whose gradient is H v."""
        gradients, out = grad_and_value(func, every)(*arguments)
        value.append(out.detach())
        total: Any = 0.0
        for part, direction in zip(flatten(gradients)[0], directions):
            total = total + (part * direction).sum()
        return total

    product = grad(slope, every)(*primals)
    return value[0], product
