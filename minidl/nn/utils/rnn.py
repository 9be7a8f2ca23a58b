"""Sequences of different lengths: padded to one tensor, or packed without padding.

A PackedSequence holds one time step after the other; the rows of step t are those of the sequences
longer than t, the longest first. A recurrent layer that is given one computes no padding, and its
last states are those of each sequence's own end. Each function here is one gather or scatter of
rows, so gradients flow through all of them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl._tensor import Tensor
from minidl.functional import cat
from minidl.typing import IntArray

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class PackedSequence(NamedTuple):
    """data (N, ...): the rows of all steps; batch_sizes (T,) int64: how many each step has.

    sorted_indices (B,): which sequence of the caller's batch is the longest, the second longest, …;
    unsorted_indices (B,): the way back. None: the batch was given in that order.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    def to(self, *args: Any, **kwargs: Any) -> "PackedSequence":
        """The data in another dtype."""
        return self._replace(data=self.data.to(*args, **kwargs))

    def double(self) -> "PackedSequence":
        """The data in float64."""
        return self._replace(data=self.data.double())

    def float(self) -> "PackedSequence":
        """The data in float32."""
        return self._replace(data=self.data.float())

    def cpu(self) -> "PackedSequence":
        """Itself: the CPU is the only device."""
        return self

    @property
    def is_cuda(self) -> bool:
        return False


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes this one."""
    if permutation is None:
        return None
    return Tensor(np.argsort(permutation.array, kind="stable"))


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack a padded batch (T, B, ...), or (B, T, ...) if batch_first, of sequences of `lengths`.

    enforce_sorted: the caller's batch must be in descending order of length; without it, any order
    is taken, and pad_packed_sequence gives it back.
    """
    counts = _lengths("pack_padded_sequence", lengths)
    if input.ndim < 2:
        raise ValueError(
            f"pack_padded_sequence: input must be (T, B, ...) or (B, T, ...), got {input.shape}"
        )
    steps, batch = (input.shape[1], input.shape[0]) if batch_first else input.shape[:2]
    if len(counts) != batch:
        raise ValueError(
            f"pack_padded_sequence: {len(counts)} lengths for a batch of {batch}; input is "
            f"{input.shape} with batch_first={batch_first}"
        )
    if not batch or counts.min() < 1 or counts.max() > steps:
        raise ValueError(
            f"pack_padded_sequence: lengths must be from 1 to {steps}, for at least one sequence, "
            f"got {counts.tolist()}"
        )
    order = np.arange(batch)
    if not enforce_sorted:
        order = np.argsort(-counts, kind="stable")
    elif (np.diff(counts) > 0).any():
        raise ValueError(
            "pack_padded_sequence: lengths must fall, or enforce_sorted=False be given, got "
            f"{counts.tolist()}"
        )
    step, rank, sizes = _places(counts[order])
    who = order[rank]
    ids = who * steps + step if batch_first else step * batch + who
    data = input.reshape(steps * batch, *input.shape[2:]).take_rows(ids, 0)
    if enforce_sorted:
        return PackedSequence(data, Tensor(sizes))
    sorted_indices = Tensor(order)
    return PackedSequence(data, Tensor(sizes), sorted_indices, invert_permutation(sorted_indices))


def _lengths(name: str, lengths: Any) -> IntArray:
    counts = lengths.array if isinstance(lengths, Tensor) else np.asarray(lengths)
    if counts.ndim != 1 or (counts.size and counts.dtype.kind not in "iu"):
        raise ValueError(f"{name}: lengths must be whole numbers (B,), got {lengths!r}")
    return counts.astype(np.int64)


def _places(counts: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Of packed rows: their step and the rank of their sequence, (N,); and each step's size, (T,).

    counts: the lengths, descending.
    """
    running = np.arange(int(counts[0]))[:, None] < counts  # (T, B)
    step, rank = np.nonzero(running)
    return step, rank, running.sum(axis=1)


def _unpacked(sequence: PackedSequence) -> tuple[IntArray, IntArray, IntArray]:
    """Of packed rows: their step and their sequence in the caller's order; and the lengths."""
    sizes = sequence.batch_sizes.array
    counts = (sizes[:, None] > np.arange(int(sizes[0]))).sum(axis=0)  # (B,), descending
    step, rank, _ = _places(counts)
    if sequence.sorted_indices is None:
        return step, rank, counts
    order = sequence.sorted_indices.array
    lengths = np.empty_like(counts)
    lengths[order] = counts
    return step, order[rank], lengths


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The padded batch (T, B, ...), or (B, T, ...), in the caller's order, and the lengths (B,).

    total_length: T, if more than the longest sequence is wanted.
    """
    step, who, lengths = _unpacked(sequence)
    steps = len(sequence.batch_sizes)
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                f"pad_packed_sequence: total_length {total_length} is less than the longest "
                f"sequence, {steps}"
            )
        steps = total_length
    padded = _scattered(
        sequence.data, step, who, steps, len(lengths), batch_first, padding_value
    )  # fmt: skip
    return padded, Tensor(lengths)


def _scattered(
    data: Tensor,
    step: IntArray,
    who: IntArray,
    steps: int,
    batch: int,
    batch_first: bool,
    padding_value: float,
) -> Tensor:
    """Rows (N, ...) at their step and sequence in a tensor that is padding_value elsewhere."""
    ids = who * steps + step if batch_first else step * batch + who
    rest = data.shape[1:]
    rows = data.add_rows(ids, 0, (steps * batch, *rest))
    if padding_value:
        filling = np.full(steps * batch, padding_value, data.dtype)
        filling[ids] = 0
        rows = rows + Tensor(filling.reshape(-1, *[1] * len(rest)))
    return rows.reshape(*((batch, steps) if batch_first else (steps, batch)), *rest)


def pad_sequence(
    sequences: Sequence[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (L_i, ...) as one tensor (T, B, ...), or (B, T, ...) if batch_first; T = max L_i.

    padding_side: "right" fills behind a sequence's end, "left" before its beginning.
    """
    sequences = list(sequences)
    _check_sequences("pad_sequence", sequences)
    if padding_side not in ("left", "right"):
        raise ValueError(f"pad_sequence: padding_side is 'left' or 'right', got {padding_side!r}")
    lengths = np.array([len(x) for x in sequences])
    steps = int(lengths.max())
    step = np.concatenate([np.arange(n) for n in lengths])
    if padding_side == "left":
        step += np.repeat(steps - lengths, lengths)
    who = np.repeat(np.arange(len(lengths)), lengths)
    rows = cat(sequences, 0)
    return _scattered(rows, step, who, steps, len(lengths), batch_first, padding_value)


def _check_sequences(name: str, sequences: Sequence[Tensor]) -> None:
    if not sequences:
        raise ValueError(f"{name}: at least one sequence is needed")
    for i, x in enumerate(sequences):
        if not isinstance(x, Tensor) or not x.ndim:
            raise ValueError(f"{name}: sequence {i} must be a tensor (L, ...), got {x!r}")
        if x.shape[1:] != sequences[0].shape[1:]:
            raise ValueError(
                f"{name}: sequences may differ in the first axis only, got {sequences[0].shape} "
                f"and, at {i}, {x.shape}"
            )


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The sequences of a padded batch, each in its own length: pad_sequence undone."""
    counts = _lengths("unpad_sequence", lengths)
    batch = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    if len(counts) != len(batch):
        raise ValueError(f"unpad_sequence: {len(counts)} lengths for a batch of {len(batch)}")
    return [x[: int(n)] for x, n in zip(batch.unbind(0), counts)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L_i, ...); see pack_padded_sequence for their order."""
    lengths = [len(x) for x in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed batch, in the caller's order: pack_sequence undone."""
    step, who, lengths = _unpacked(packed_sequences)
    by_sequence = np.lexsort((step, who))
    rows = packed_sequences.data.take_rows(by_sequence, 0)
    return list(rows.split([int(n) for n in lengths], 0))
