"""Sequences of different lengths in one array."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl._tensor import Tensor


def pad_sequence(
    sequences: Sequence[Any],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (L_i, ...) as one tensor (T, N, ...), or (N, T, ...) if batch_first; T = max L_i.

    torch.nn.utils.rnn.pad_sequence for data: a sequence that requires a gradient is an error.
    """
    padded = pad_sequences(
        sequences, padding_value=padding_value, padding_side=padding_side, truncate=padding_side
    )
    return padded if batch_first else Tensor(np.ascontiguousarray(padded.array.swapaxes(0, 1)))


def pad_sequences(
    sequences: Sequence[Any],
    length: int | None = None,
    padding_value: float = 0.0,
    padding_side: str = "right",
    truncate: str = "left",
    dtype: Any = None,
) -> Tensor:
    """Sequences (L_i, ...) as one tensor (N, T, ...), filled up with padding_value.

    Sequences are tensors, arrays or lists of numbers. T is `length`, or the longest L_i; what is
    longer loses its `truncate` side: "left" keeps the newest of a history. padding_side: where the
    filling goes; "left" puts the last element of every sequence in the last column.
    """
    for name, side in (("padding_side", padding_side), ("truncate", truncate)):
        if side not in ("left", "right"):
            raise ValueError(f"pad_sequences: {name} must be 'left' or 'right', got {side!r}")
    if isinstance(sequences, (Tensor, np.ndarray)) and sequences.ndim < 2:
        raise TypeError("pad_sequences: a list of sequences is needed, got one sequence")
    arrays = [np.asarray(s.array if isinstance(s, Tensor) else s) for s in sequences]
    if not arrays:
        raise ValueError("pad_sequences: there is no sequence; give at least one")
    for i, a in enumerate(arrays):
        if not a.ndim or a.dtype.kind not in "biuf":
            raise TypeError(
                f"pad_sequences: sequence {i} must be (L, ...) numbers, got {a.dtype} {a.shape}"
            )
    if any(isinstance(s, Tensor) and s.requires_grad for s in sequences):
        raise ValueError(
            "pad_sequences: a sequence requires a gradient, which would be lost; detach() it"
        )
    filled = [a for a in arrays if a.size] or arrays[:1]  # an empty list has a type of no meaning
    rest = filled[0].shape[1:]
    for i, a in enumerate(arrays):
        if a.shape[1:] != rest and a.size:
            raise ValueError(
                f"pad_sequences: sequence {i} has rows {a.shape[1:]}, the first {rest}; "
                "all but the length must be equal"
            )
    longest = max(len(a) for a in arrays) if length is None else length
    if longest < 0:
        raise ValueError(f"pad_sequences: length must be 0 or more, got {longest}")
    kind = np.result_type(*[a.dtype for a in filled]) if dtype is None else np.dtype(dtype)
    out = np.full((len(arrays), longest, *rest), padding_value, kind)  # (N, T, ...)
    for row, a in zip(out, arrays):
        if len(a) > longest:
            a = a[len(a) - longest :] if truncate == "left" else a[:longest]
        if len(a):
            row[(longest - len(a) if padding_side == "left" else 0) :][: len(a)] = a
    return Tensor(out)
