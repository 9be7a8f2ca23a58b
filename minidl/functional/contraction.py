"""Einstein's summation: products summed over named axes, as a chain of matrix products."""

from collections import Counter
from functools import lru_cache
from math import prod

import numpy as np

from minidl._tensor import Tensor
from minidl.functional._common import common_dtype, permuted
from minidl.functional.matrix import matmul

__all__ = ["einsum"]

_Term = tuple[Tensor, tuple[str, ...]]


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """Sums of products of named axes: einsum("bij,bjk->bik", x, y).

    Each letter names an axis; letters that are not in the output are summed over. A letter twice in
    one operand takes its diagonal. "..." stands for axes that broadcast. Without "->" the output
    has "..." and then the letters that come once, in alphabetical order. Of several operands, the
    pair whose product is smallest, against what it replaces, is multiplied first.
    """
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    names, out = _parsed(equation, tuple([x.shape for x in operands]))
    tensors = common_dtype(*operands)
    sizes = _sizes(equation, names, tensors)
    terms = [_prepared(x, labels, sizes) for x, labels in zip(tensors, names)]
    while len(terms) > 1:
        i, j = _cheapest(terms, out, sizes)
        first, second = terms[i], terms[j]
        rest = [term for k, term in enumerate(terms) if k not in (i, j)]
        wanted = set(out).union(*(labels for _, labels in rest))
        terms = [*rest, _contracted(first, second, wanted)]
    x, labels = _summed(terms[0], set(out))
    missing = [n for n in out if n not in labels]  # of size 1 in every operand
    x = x.reshape(*x.shape, *(1 for _ in missing))
    labels = (*labels, *missing)
    return permuted(x, [labels.index(n) for n in out])


@lru_cache(256)
def _parsed(
    equation: str, shapes: tuple[tuple[int, ...], ...]
) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """A tuple of axis names for each operand and for the output; "..." becomes "0", "1", ..."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ValueError(
            f"einsum: {equation!r} names {len(terms)} operands, but {len(shapes)} are given"
        )
    names, wide = [], 0
    for term, shape in zip(terms, shapes):
        letters = term.replace("...", "", 1)
        hidden = len(shape) - len(letters) if "..." in term else 0
        if (letters and not letters.isalpha()) or hidden < 0 or len(letters) + hidden != len(shape):
            raise ValueError(
                f"einsum: {term!r} of {equation!r} does not fit an operand of shape {shape}; "
                "it needs a letter for each axis, or '...'"
            )
        wide = max(wide, hidden)
        names.append((term, hidden))
    # broadcast axes are counted from the last: the last is "0"
    found = [_with_dots(term, hidden) for term, hidden in names]
    if not arrow:
        count = Counter(left.replace(".", "").replace(",", ""))
        once = "".join(sorted(n for n, c in count.items() if c == 1))
        return found, (*_dots(wide), *once)
    letters = right.replace("...", "", 1)
    known = {n for labels in found for n in labels}
    if len(set(letters)) < len(letters) or not set(letters) <= known:
        raise ValueError(
            f"einsum: the output {right!r} of {equation!r} must name axes of the operands, once"
        )
    return found, _with_dots(right, wide if "..." in right else 0)


def _dots(count: int) -> tuple[str, ...]:
    return tuple(f"{i}" for i in reversed(range(count)))


def _with_dots(term: str, hidden: int) -> tuple[str, ...]:
    before, dots, after = term.partition("...")
    return (*before, *(_dots(hidden) if dots else ()), *after)


def _sizes(equation: str, names: list, tensors: list[Tensor]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for x, labels in zip(tensors, names):
        for name, size in zip(labels, x.shape):
            known = sizes.get(name, 1)
            if size != 1 and known not in (1, size):
                raise ValueError(
                    f"einsum: {equation!r}: axis {name!r} has size {known} in one operand and "
                    f"{size} in another"
                )
            sizes[name] = size if known == 1 else known
    return sizes


def _prepared(x: Tensor, labels: tuple[str, ...], sizes: dict[str, int]) -> _Term:
    """The diagonal of repeated names; axes of size 1 that broadcast are dropped."""
    if len(set(labels)) < len(labels):
        once = tuple(dict.fromkeys(labels))
        shape = [max(n for m, n in zip(labels, x.shape) if m == name) for name in once]
        wide = [shape[once.index(m)] for m in labels]
        if tuple(wide) != x.shape:
            raise ValueError(f"einsum: a diagonal needs axes of one size, got {x.shape}")
        grid = np.indices(shape)  # one array of indices a name
        places = np.ravel_multi_index([grid[once.index(m)] for m in labels], x.shape)
        x, labels = x.take_flat(places), once
    kept = [i for i, m in enumerate(labels) if x.shape[i] == sizes[m]]
    if len(kept) < len(labels):
        x = x.reshape([x.shape[i] for i in kept])
        labels = tuple(labels[i] for i in kept)
    return x, labels


def _cheapest(terms: list[_Term], out: tuple[str, ...], sizes: dict[str, int]) -> tuple[int, int]:
    if len(terms) == 2:
        return 0, 1
    best = None
    for i in range(len(terms)):
        for j in range(i + 1, len(terms)):
            rest = [t[1] for k, t in enumerate(terms) if k not in (i, j)]
            wanted = set(out).union(*rest)
            both = set(terms[i][1]) | set(terms[j][1])
            size = prod([sizes[n] for n in both & wanted])
            cost = size - terms[i][0].array.size - terms[j][0].array.size
            work = prod([sizes[n] for n in both])
            if best is None or (cost, work) < best[0]:
                best = ((cost, work), (i, j))
    assert best is not None
    return best[1]


def _summed(term: _Term, wanted: set[str]) -> _Term:
    """Sum over the axes that nothing else needs."""
    x, labels = term
    axes = tuple(i for i, n in enumerate(labels) if n not in wanted)
    if not axes:
        return term
    return x.sum(axes), tuple(n for n in labels if n in wanted)


def _contracted(first: _Term, second: _Term, wanted: set[str]) -> _Term:
    """The product of two operands, summed over what they share and nothing else needs."""
    x, mine = _summed(first, wanted | set(second[1]))
    y, theirs = _summed(second, wanted | set(mine))
    shared = [n for n in mine if n in theirs]
    batch = [n for n in shared if n in wanted]
    inner = [n for n in shared if n not in wanted]
    left = [n for n in mine if n not in shared]
    right = [n for n in theirs if n not in shared]
    x = permuted(x, [mine.index(n) for n in (*batch, *left, *inner)])
    y = permuted(y, [theirs.index(n) for n in (*batch, *inner, *right)])
    b, rows = x.shape[: len(batch)], x.shape[len(batch) : len(batch) + len(left)]
    columns = y.shape[len(batch) + len(inner) :]
    out = (*batch, *left, *right)
    if not inner:  # nothing is summed: a broadcast product
        product = x.reshape(*b, *rows, *(1 for _ in columns)) * y.reshape(
            *b, *(1 for _ in rows), *columns
        )
        return product, out
    size = prod(x.shape[len(batch) + len(left) :])
    stack = (prod(b),) if batch else ()
    product = matmul(x.reshape(*stack, prod(rows), size), y.reshape(*stack, size, prod(columns)))
    return product.reshape(*b, *rows, *columns), out
