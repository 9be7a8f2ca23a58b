"""Padding and packing: round trips on batches that hypothesis draws, against torch, gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import Tensor
from minidl.nn.utils import rnn as seq

LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=5)


def sequences(lengths, width=2):
    """Sequences of which no two numbers are equal."""
    numbers = np.arange(1.0, 1 + sum(lengths) * width).reshape(-1, width)
    return [Tensor(part.copy()) for part in np.split(numbers, np.cumsum(lengths)[:-1])]


@given(LENGTHS, st.booleans(), st.sampled_from(["left", "right"]))
@settings(deadline=None, max_examples=40)
def test_pad_sequence(lengths, batch_first, side):
    parts = sequences(lengths)
    padded = seq.pad_sequence(parts, batch_first, -1.0, side)
    rows = padded.numpy() if batch_first else padded.numpy().swapaxes(0, 1)
    longest = max(lengths)
    assert rows.shape == (len(lengths), longest, 2)
    for row, part, n in zip(rows, parts, lengths):
        own, rest = (row[:n], row[n:]) if side == "right" else (row[longest - n :], row[:-n])
        np.testing.assert_array_equal(own, part.numpy())
        assert (rest[: longest - n] == -1).all()


@given(LENGTHS, st.booleans(), st.integers(0, 2))
@settings(deadline=None, max_examples=40)
def test_packing_and_back(lengths, batch_first, more):
    parts = sequences(lengths)
    padded = seq.pad_sequence(parts, batch_first)
    packed = seq.pack_padded_sequence(padded, lengths, batch_first, enforce_sorted=False)
    assert packed.data.shape == (sum(lengths), 2)
    sizes = [sum(n > t for n in lengths) for t in range(max(lengths))]
    assert packed.batch_sizes.tolist() == sizes
    total = max(lengths) + more
    again, counts = seq.pad_packed_sequence(packed, batch_first, total_length=total)
    assert counts.tolist() == lengths
    time = 1 if batch_first else 0
    assert again.shape[time] == total
    np.testing.assert_array_equal(again.numpy().take(range(max(lengths)), time), padded.numpy())
    assert not again.numpy().take(range(max(lengths), total), time).any()
    for unpacked in (
        seq.unpack_sequence(seq.pack_sequence(parts, enforce_sorted=False)),
        seq.unpad_sequence(padded, counts, batch_first),
    ):
        for got, want in zip(unpacked, parts, strict=True):
            np.testing.assert_array_equal(got.numpy(), want.numpy())


def test_each_number_gets_its_own_gradient():
    parts = [p.requires_grad_() for p in sequences([2, 4, 1])]
    packed = seq.pack_sequence(parts, enforce_sorted=False)
    weight = np.random.default_rng(0).standard_normal((4, 3, 2))
    padded, _ = seq.pad_packed_sequence(packed, padding_value=7.0)
    (padded * Tensor(weight)).sum().backward()
    for i, part in enumerate(parts):
        np.testing.assert_array_equal(part.grad.numpy(), weight[: len(part), i])


@pytest.mark.parametrize("lengths", [[4, 2, 1], [2, 4, 1], [3], [2, 2]])
@pytest.mark.parametrize("batch_first", [False, True])
def test_as_torch_has_it(lengths, batch_first):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.utils.rnn
    ours_in, theirs_in = sequences(lengths), [torch.tensor(p.numpy()) for p in sequences(lengths)]
    falling = sorted(lengths, reverse=True) == lengths
    for enforce_sorted in (True, False) if falling else (False,):
        ours = seq.pack_sequence(ours_in, enforce_sorted)
        known = theirs.pack_sequence(theirs_in, enforce_sorted)
        for name in ("data", "batch_sizes", "sorted_indices", "unsorted_indices"):
            got, want = getattr(ours, name), getattr(known, name)
            assert (got is None) == (want is None)
            if got is not None:
                np.testing.assert_array_equal(got.numpy(), want.numpy())
        padded = seq.pad_packed_sequence(ours, batch_first, -2.0, 6)
        want = theirs.pad_packed_sequence(known, batch_first, -2.0, 6)
        for a, b in zip(padded, want):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_integers_and_dtypes():
    ids = [minidl.tensor([3, 1, 2]), minidl.tensor([9])]
    packed = seq.pack_sequence(ids)
    assert packed.data.tolist() == [3, 9, 1, 2]
    assert packed.data.dtype == np.int64
    padded, _ = seq.pad_packed_sequence(packed, padding_value=-1)
    assert padded.tolist() == [[3, 9], [1, -1], [2, -1]]
    assert packed.float().data.dtype == np.float32
    assert packed.double().data.dtype == np.float64
    assert seq.invert_permutation(minidl.tensor([2, 0, 1])).tolist() == [1, 2, 0]
    assert seq.invert_permutation(None) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: seq.pack_padded_sequence(minidl.ones(3, 2), [1, 3]), "lengths must fall"),
        (lambda: seq.pack_padded_sequence(minidl.ones(3, 2), [3, 0]), "from 1 to 3"),
        (lambda: seq.pack_padded_sequence(minidl.ones(3, 2), [4, 1]), "from 1 to 3"),
        (lambda: seq.pack_padded_sequence(minidl.ones(3, 2), [3]), "1 lengths for a batch of 2"),
        (lambda: seq.pack_padded_sequence(minidl.ones(3, 2), [1.5, 1]), "whole numbers"),
        (lambda: seq.pad_sequence([]), "at least one"),
        (lambda: seq.pad_sequence([minidl.ones(2, 3), minidl.ones(2, 4)]), "first axis only"),
        (lambda: seq.pad_sequence([minidl.ones(2)], padding_side="top"), "'left' or 'right'"),
        (
            lambda: seq.pad_packed_sequence(seq.pack_sequence([minidl.ones(3)]), total_length=2),
            "less than the longest",
        ),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
