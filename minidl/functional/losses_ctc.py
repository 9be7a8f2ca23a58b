"""Connectionist temporal classification: labels without a segmentation of the input."""

from typing import Any

import numpy as np

from minidl._apply import apply
from minidl._tensor import Tensor
from minidl.functional._losses import reduced
from minidl.ops.ctc import CTC
from minidl.typing import Array, IntArray

__all__ = ["ctc_loss"]


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log p(targets | log_probs), over all alignments; equations: `minidl.ops.ctc.CTC`.

    log_probs (T, N, C) or (T, C), from log_softmax. targets (N, S), padded, or (sum of lengths,),
    one after the other; without the blank label. input_lengths, target_lengths (N,). "mean" divides
    each loss by its target's length first. zero_infinity: a target too long for its input counts 0
    instead of inf.
    """
    if log_probs.ndim not in (2, 3):
        raise ValueError(
            f"ctc_loss: log_probs must be (T, N, C) or (T, C), got {log_probs.shape}"
        )
    if log_probs.dtype == np.float16:  # a way to store: the recursions run in float32
        arguments = (targets, input_lengths, target_lengths, blank, reduction, zero_infinity)
        return ctc_loss(log_probs.float(), *arguments).half()
    batched = log_probs.ndim == 3
    x = log_probs if batched else log_probs.unsqueeze(1)
    steps, count, classes = x.shape
    if not 0 <= blank < classes:
        raise ValueError(f"ctc_loss: blank must be 0 to {classes - 1}, got {blank}")
    ins = _lengths("input_lengths", input_lengths, count, steps)
    rows = targets.array
    most = rows.shape[-1] if rows.ndim == 2 or not batched else rows.size
    outs = _lengths("target_lengths", target_lengths, count, most)
    padded = _padded(rows if batched or rows.ndim == 2 else rows[None], outs)
    inside = np.arange(padded.shape[1]) < outs[:, None]
    wrong = inside & ((padded < 0) | (padded >= classes) | (padded == blank))
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"ctc_loss: target {padded[place]} at {place} must be a class from 0 to "
            f"{classes - 1} other than the blank, {blank}"
        )
    padded = np.where(inside, padded, blank)
    loss = apply(CTC, x, padded, ins, outs, blank=int(blank), normalised=True)
    if zero_infinity:
        loss = loss.masked(loss.array != np.inf)
    if reduction == "mean":
        loss = loss / Tensor(np.maximum(outs, 1).astype(loss.dtype))
    return reduced(loss if batched or reduction != "none" else loss.squeeze(0), reduction)


def _lengths(name: str, given: Any, count: int, most: int) -> IntArray:
    lengths = given.array if isinstance(given, Tensor) else np.asarray(given)
    if lengths.size and lengths.dtype.kind not in "iu":
        raise TypeError(f"ctc_loss: {name} must be whole numbers, got {lengths.dtype}")
    lengths = lengths.reshape(-1).astype(np.int64)
    if len(lengths) != count:
        raise ValueError(f"ctc_loss: {count} samples need as many {name}, got {len(lengths)}")
    if count and (lengths.min() < 0 or lengths.max() > most):
        raise ValueError(f"ctc_loss: {name} must be 0 to {most}, got {lengths.tolist()}")
    return lengths


def _padded(targets: Array, lengths: IntArray) -> IntArray:
    """Targets as (N, S), from that or from one row of all."""
    if targets.dtype.kind not in "iu":
        raise TypeError(f"ctc_loss: targets must be integers, got {targets.dtype}; use .long()")
    if targets.ndim == 2:
        if len(targets) != len(lengths):
            raise ValueError(
                f"ctc_loss: targets {targets.shape} must have a row for each of {len(lengths)} "
                "samples"
            )
        return targets.astype(np.int64)
    if targets.ndim != 1 or targets.size != lengths.sum():
        raise ValueError(
            f"ctc_loss: targets must be (N, S), or ({lengths.sum()},) as target_lengths add up "
            f"to, got {targets.shape}"
        )
    out = np.zeros((len(lengths), int(lengths.max(initial=0))), np.int64)
    out[np.arange(out.shape[1]) < lengths[:, None]] = targets
    return out
