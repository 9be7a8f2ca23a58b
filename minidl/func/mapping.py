"""vmap: a function of one example, over an axis of examples."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from minidl import functional as F
from minidl import random
from minidl._tensor import Tensor
from minidl.autograd._pull import flatten
from minidl.autograd.function import Function


class _Slices(Function):
    """The slices of x along an axis, each an array of its own; the gradient is their stack."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Any:
        ctx.dim = dim
        return tuple(part.clone() for part in F.unbind(x, dim))

    @staticmethod
    def backward(ctx: Any, *douts: Any) -> Any:
        return F.stack(douts, ctx.dim), None


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
) -> Callable[..., Any]:
    """A function that calls `func` for each index of an axis and stacks what it returns.

        vmap(dot)(x, y)                     x, y (N, D) -> (N,)
        vmap(f, in_dims=(0, None))          the second argument is the same for all

    This is a loop in Python over the axis, not one pass with batched ops: func sees plain tensors,
    so it may branch on values or call .item(), and N calls cost N times one call. Where speed
    counts, write the function for a batch. It can be differentiated, and nests with the other
    transformations: vmap(grad(loss)) gives the gradient of each example.

    in_dims: the axis of each argument, None for an argument that all calls share; an int is for
    all of them; nested as the arguments are, if they are nested. Keyword arguments are shared.
    out_dims: where the new axis stands in the outputs, one int or one an output. randomness: what
    draws from the default generator may do, "error", "different" for each index, or "same".
    """
    if randomness not in ("error", "different", "same"):
        raise ValueError(
            f"vmap: randomness must be 'error', 'different' or 'same', got {randomness!r}"
        )

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        leaves, rebuild = flatten(args)
        axes = _spread(in_dims, args)
        size = _common_size(leaves, axes)
        shared = [x for x, axis in zip(leaves, axes) if axis is None and isinstance(x, Tensor)]
        versions = [x.version[0] for x in shared]
        slices = [
            x if axis is None else _Slices.apply(x, axis % x.ndim) for x, axis in zip(leaves, axes)
        ]
        start = random.get_rng_state()
        results = []
        for i in range(size):
            if randomness == "same":
                random.set_rng_state(start)
            one = [x if axis is None else x[i] for x, axis in zip(slices, axes)]
            results.append(func(*rebuild(one), **kwargs))
            if [x.version[0] for x in shared] != versions:
                raise RuntimeError(
                    "vmap: the function changed a shared argument in place: each index would see "
                    "what the one before left; give that argument an axis, or return a new value"
                )
            if randomness == "error" and random.get_rng_state() != start:
                raise RuntimeError(
                    "vmap: the function drew random numbers; say randomness='different' or 'same'"
                )
        return _stacked(results, out_dims)

    return wrapper


def _spread(dims: Any, tree: Any) -> list[Any]:
    """An axis for every leaf of `tree`, from an int, None, or a nest that begins as the tree's."""
    if dims is None or isinstance(dims, int):
        return [dims] * len(flatten(tree)[0])
    if isinstance(dims, dict) and isinstance(tree, dict) and set(dims) == set(tree):
        return [axis for key in tree for axis in _spread(dims[key], tree[key])]
    both = isinstance(dims, (tuple, list)) and isinstance(tree, (tuple, list))
    if both and len(dims) == len(tree):
        return [axis for d, branch in zip(dims, tree) for axis in _spread(d, branch)]
    raise ValueError(
        f"vmap: in_dims {dims!r} does not fit the arguments: give an int or None for each of them"
    )


def _common_size(leaves: Sequence[Any], axes: Sequence[Any]) -> int:
    sizes = set()
    for x, axis in zip(leaves, axes):
        if axis is None:
            continue
        if not isinstance(x, Tensor):
            raise TypeError(
                f"vmap: an argument with an axis must be a Tensor, got {type(x).__name__}; give "
                "None in in_dims for what all calls share"
            )
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(f"vmap: in_dims {axis} of an argument of shape {x.shape}")
        sizes.add(x.shape[axis])
    if not sizes:
        raise ValueError("vmap: at least one argument needs an axis, all in_dims are None")
    if len(sizes) > 1:
        raise ValueError(
            f"vmap: the arguments have different sizes {sorted(sizes)} along their axes"
        )
    (size,) = sizes
    if not size:
        raise ValueError("vmap: the axis has size 0, so what the function returns is unknown")
    return size


def _stacked(results: Sequence[Any], out_dims: Any) -> Any:
    rows = []
    for result in results:
        leaves, rebuild = flatten(result)
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                raise TypeError(
                    f"vmap: the function must return Tensors, got {type(leaf).__name__}"
                )
        rows.append(leaves)
    if len({len(row) for row in rows}) > 1:
        raise ValueError("vmap: the function returned different numbers of tensors")
    if isinstance(out_dims, int):
        axes = [out_dims] * len(rows[0])
    elif isinstance(out_dims, (tuple, list)) and len(out_dims) == len(rows[0]):
        axes = list(out_dims)
    else:
        raise ValueError(f"vmap: out_dims {out_dims!r} must be an int, or one int an output")
    if not all(isinstance(axis, int) for axis in axes):
        raise ValueError(f"vmap: out_dims {out_dims!r} must be ints; every output gets the axis")
    for column in zip(*rows):
        if len({x.shape for x in column}) > 1:
            raise ValueError(
                "vmap: the function returned different shapes "
                f"{sorted({x.shape for x in column})} for different indices"
            )
    return rebuild([F.stack(column, axis) for column, axis in zip(zip(*rows), axes)])
