"""One tensor as several: views of it, whose gradients come together in one op."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minidl._apply import _ONE, _tell
from minidl._tensor import Node, Pick, Tensor, _mode, method, observers
from minidl.functional._common import one_axis
from minidl.functional.index import view_at
from minidl.ops.view import Sections

__all__ = [
    "chunk", "dsplit", "hsplit", "split", "split_with_sizes", "tensor_split", "unbind", "vsplit",
]  # fmt: skip


def _sections(x: Tensor, axis: int, sizes: tuple[int, ...], single: bool) -> tuple[Tensor, ...]:
    """Views of all parts. To each its own `Slice` is known, should it be changed in place, but on
    the tape they are outputs of one op: that many arrays of x's size are not filled with zeros.
    """
    before, start, outs = (slice(None),) * axis, 0, []
    every = ((None, None, None),) * axis
    for size in sizes:
        stop = start + size
        place, key = (start, start) if single else (slice(start, stop), (start, stop, None))
        outs.append(view_at(x, (*before, place, ...), (*every, key), recorded=False))
        start = stop
    if x.requires_grad and _mode.grad:
        settings = {"axis": axis, "sizes": sizes, "single": single}
        node = Node(Sections, settings, (x.array.shape,), _ONE, (x.node or x,))
        for index, out in enumerate(outs):
            out.node = Node(Pick, {"index": index}, (), _ONE, (node,))
            out.requires_grad = True
        if observers:
            _tell(node)
    return tuple(outs)


@method
def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of `split_size` each along `dim` (the last may be shorter), or of the given sizes."""
    if not isinstance(split_size_or_sections, (int, np.integer)):
        return split_with_sizes(tensor, split_size_or_sections, dim)
    axis, size = _axis(tensor, dim, "split"), int(split_size_or_sections)
    count = tensor.shape[axis]
    if size < 0 or (size == 0 and count):
        raise RuntimeError(f"split: split_size must be above 0, got {size}")
    starts = range(0, count, size) if count else (0,)
    return _sections(tensor, axis, tuple([min(size, count - i) for i in starts]), False)


@method
def split_with_sizes(
    tensor: Tensor, split_sizes: Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """Views of these sizes along `dim`; they must add up to its size."""
    axis, sizes = _axis(tensor, dim, "split"), tuple([int(n) for n in split_sizes])
    if sum(sizes) != tensor.shape[axis] or min(sizes, default=0) < 0:
        raise RuntimeError(
            f"split: sizes {sizes} must add up to {tensor.shape[axis]}, the size of dim {dim}"
        )
    return _sections(tensor, axis, sizes, False)


@method
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` views along `dim`, of equal size but for the last."""
    if chunks < 1:
        raise RuntimeError(f"chunk: chunks must be above 0, got {chunks}")
    count = input.shape[_axis(input, dim, "chunk")]
    if not count:
        return split_with_sizes(input, [0] * chunks, dim)
    return split(input, -(-count // chunks), dim)


@method
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views along `dim`: so many of about equal size, or cut before the given indices."""
    axis = _axis(input, dim, "tensor_split")
    count = input.shape[axis]
    cuts: Any = indices_or_sections
    if isinstance(cuts, Tensor):
        cuts = cuts.tolist()
    if isinstance(cuts, (int, np.integer)):
        if cuts < 1:
            raise RuntimeError(f"tensor_split: sections must be above 0, got {cuts}")
        small, longer = divmod(count, int(cuts))
        sizes = (small + 1,) * longer + (small,) * (int(cuts) - longer)
        return _sections(input, axis, sizes, False)
    every = (slice(None),) * axis
    return tuple([input[(*every, slice(a, b))] for a, b in zip([0, *cuts], [*cuts, count])])


@method
def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along the second axis, or the only one of a vector."""
    return tensor_split(input, indices_or_sections, 0 if input.ndim == 1 else 1)


@method
def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along the first axis."""
    return tensor_split(input, indices_or_sections, 0)


@method
def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along the third axis."""
    return tensor_split(input, indices_or_sections, 2)


@method
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """A view for each index of `dim`."""
    axis = _axis(input, dim, "unbind")
    return _sections(input, axis, (1,) * input.shape[axis], True)


def _axis(x: Tensor, dim: int, name: str) -> int:
    if not x.ndim:
        raise RuntimeError(f"{name}: a 0-d tensor cannot be divided")
    return one_axis(dim, x.ndim, name)


def _iter(self: Tensor) -> Iterator[Tensor]:
    if not self.array.ndim:
        raise TypeError("iteration over a 0-d tensor; take its value with .item()")
    return iter(unbind(self))


Tensor.__iter__ = _iter  # type: ignore[method-assign]
