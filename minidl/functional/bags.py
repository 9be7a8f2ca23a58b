"""Bags of table rows, summed up: texts as the mean of their words, users as that of their items."""

import warnings

import numpy as np

from minidl._apply import apply, apply1, record
from minidl._tensor import Tensor, recorders
from minidl.functional.layers import _limit_norms, check_ids
from minidl.ops import bag as ops
from minidl.ops.elementwise import Alias
from minidl.sparse import RowSparse
from minidl.typing import Array, IntArray

__all__ = ["embedding_bag"]


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or max of rows of `weight` (V, D) over each bag of ids: (B, D).

    input (B, N): each row is a bag; or (J,) with offsets (B,), where each bag begins (with
    include_last_offset (B + 1,): and where the last ends). per_sample_weights: a factor for each
    id, for mode "sum". padding_idx: an id that is in no bag. max_norm, scale_grad_by_freq, sparse:
    as in `embedding`. An empty bag gives 0.

    Gradients under scale_grad_by_freq differ from PyTorch's (2.13), which divides a row's by the
    count of another row.
    """
    if weight.dtype.kind in "iu" and input.dtype.kind == "f":
        warnings.warn(
            "embedding_bag: the ids come first, then the table; the two were exchanged",
            stacklevel=2,
        )
        input, weight = weight, input
    if weight.ndim != 2:
        raise ValueError(f"embedding_bag: weight must be a table (V, D), got {weight.shape}")
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"embedding_bag: mode must be 'sum', 'mean' or 'max', got {mode!r}")
    if mode == "max" and (sparse or scale_grad_by_freq):
        raise ValueError("embedding_bag: mode 'max' takes neither sparse nor scale_grad_by_freq")
    factors = per_sample_weights
    if factors is not None:
        if mode != "sum":
            raise ValueError(f"embedding_bag: per_sample_weights need mode 'sum', got {mode!r}")
        if factors.shape != input.shape or factors.dtype != weight.dtype:
            raise ValueError(
                f"embedding_bag: per_sample_weights must be {input.shape} of {weight.dtype}, as "
                f"input and weight, got {factors.shape} of {factors.dtype}"
            )
        factors = factors.reshape(-1)
    ids, indptr = _bags(input, offsets, include_last_offset)
    rows = weight.shape[0]
    check_ids("embedding_bag", input.array, rows)
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise ValueError(f"embedding_bag: padding_idx {padding_idx} is outside {rows} rows")
        kept = ids != padding_idx % rows
        indptr = np.concatenate([[0], np.cumsum(kept)])[indptr]
        ids = ids[kept]
        factors = None if factors is None else factors.take_rows(np.flatnonzero(kept), 0)
    if max_norm is not None:
        _limit_norms(weight, np.unique(ids), max_norm, norm_type)
    if mode == "max":
        out = apply(ops.EmbeddingBagMax, weight, ids, indptr)
        _tell_recorders(input, weight, None, mode, padding_idx, out)
        return out
    table = weight
    if scale_grad_by_freq and weight.requires_grad:
        weight = _scaled_by_frequency(weight, ids)
    if factors is None:
        sizes = np.diff(indptr)
        shares = np.repeat(1 / np.maximum(sizes, 1), sizes) if mode == "mean" else np.ones(len(ids))
        factors = Tensor(shares.astype(weight.dtype))
    out = apply(ops.EmbeddingBag, weight, factors, ids, indptr, sparse=bool(sparse))
    _tell_recorders(input, table, per_sample_weights, mode, padding_idx, out)
    return out


def _tell_recorders(input, weight, factors, mode, padding_idx, out) -> None:
    """What the ids decided stands in arrays: a recorder is told of bags of one size as a whole."""
    if recorders and input.ndim == 2:
        settings = {"mode": mode, "padding_idx": padding_idx}
        record("embedding_bag", (input, weight, factors), settings, (out,))


def _bags(input: Tensor, offsets: Tensor | None, last: bool) -> tuple[IntArray, IntArray]:
    """All ids (J,), and where each bag begins and the last ends (B + 1,)."""
    ids = np.ascontiguousarray(input.array, dtype=np.int64).reshape(-1)
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "embedding_bag: an input (B, N) has a bag in each row; offsets go with ids (J,)"
            )
        return ids, np.arange(len(input) + 1) * input.shape[1]
    if input.ndim != 1 or offsets is None or offsets.ndim != 1:
        raise ValueError(
            "embedding_bag: input must be (B, N), or (J,) with offsets (B,), got "
            f"{input.shape} and {None if offsets is None else offsets.shape}"
        )
    indptr: Array = offsets.array.astype(np.int64)
    if last and not len(indptr):
        raise ValueError("embedding_bag: include_last_offset needs at least one offset")
    ends = indptr[-1:] if last else [len(ids)]
    indptr = indptr if last else np.append(indptr, ends)
    if len(indptr) > 1 and (indptr[0] != 0 or (np.diff(indptr) < 0).any()):
        raise ValueError(
            f"embedding_bag: offsets must begin with 0 and not fall, nor pass {len(ids)} ids, "
            f"got {offsets.tolist()}"
        )
    if indptr[-1] > len(ids):
        raise ValueError(f"embedding_bag: an offset {indptr[-1]} lies behind the {len(ids)} ids")
    return ids[: indptr[-1]], indptr


def _scaled_by_frequency(weight: Tensor, ids: IntArray) -> Tensor:
    """The table, of which a row's gradient will be divided by how often the batch holds it."""
    often = np.maximum(np.bincount(ids, minlength=len(weight)), 1).astype(weight.dtype)
    weight = apply1(Alias, weight)

    def scale(grad):
        if isinstance(grad, RowSparse):
            values = grad.values / often[grad.rows][:, None]
            return RowSparse(grad.rows, values, grad.shape, grad.is_coalesced)
        return grad / Tensor(often[:, None])

    weight.register_hook(scale)
    return weight
