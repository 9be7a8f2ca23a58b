"""Data sets, samplers, collating, padding, random state."""

from collections import namedtuple

import numpy as np
import pytest

import minidl
from minidl import random as mrandom
from minidl.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    pad_sequence,
    pad_sequences,
    random_split,
)


def test_tensor_dataset():
    data = TensorDataset(minidl.tensor([1.0, 2.0]), np.array([[1], [2]]))
    assert len(data) == 2
    assert [t.tolist() for t in data[1]] == [2.0, [2]]
    assert [t.tolist() for t in data[-1]] == [2.0, [2]]
    for arguments, error, words in [
        ((), ValueError, "at least one"),
        ((np.ones(2), np.ones(3)), ValueError, "2, 3 rows; all must have as many"),
        (([1, 2],), TypeError, "argument 0 is list"),
        ((np.float32(1), np.ones(1)), TypeError, "argument 0"),
        ((np.array(1),), ValueError, "0-d"),
    ]:
        with pytest.raises(error, match=words):
            TensorDataset(*arguments)


def test_concat_and_subset():
    both = TensorDataset(np.arange(3)) + TensorDataset(np.arange(10, 12))
    assert [both[i][0].item() for i in range(5)] == [0, 1, 2, 10, 11]
    assert both[-1][0].item() == 11
    with pytest.raises(IndexError, match="index 5 is outside 5"):
        both[5]
    with pytest.raises(ValueError, match="at least one"):
        ConcatDataset([])
    with pytest.raises(TypeError, match="no length"):
        ConcatDataset([IterableDataset()])
    assert not hasattr(Subset(both, [0]), "take_batch")
    with pytest.raises(IndexError, match="do not fit a data set of 5"):
        Subset(both, [0, 5])
    with pytest.raises(TypeError, match="whole numbers"):
        Subset(both, [0.5])
    assert len(Subset(both, [])) == 0


def test_random_split():
    data = TensorDataset(np.arange(10))
    parts = random_split(data, [7, 3], np.random.default_rng(0))
    seen = [d[0].item() for part in parts for d in part]
    assert [len(p) for p in parts] == [7, 3]
    assert sorted(seen) == list(range(10)) != seen
    assert [len(p) for p in random_split(data, [0.5, 0.25, 0.25])] == [6, 2, 2]
    for lengths, words in [
        ([7, 2], "add up to 9, not to the 10"),
        ([0.5, 0.1], "sum 1"),
        ([-1, 11], "0 or more"),
        ([9.5, 0.5], "counts with that sum"),
    ]:
        with pytest.raises(ValueError, match=words):
            random_split(data, lengths)


def test_samplers():
    assert list(SequentialSampler("abc")) == [0, 1, 2]
    sampler = RandomSampler(range(50), seed=1)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    state = sampler.state_dict()
    other = RandomSampler(range(50), seed=9)
    other.load_state_dict(state)
    assert list(other) == list(sampler)
    assert len(list(RandomSampler(range(3), num_samples=8, seed=0))) == 8
    drawn = list(RandomSampler(range(3), True, 3000, seed=0))
    assert np.all(np.abs(np.bincount(drawn) - 1000) < 120)
    assert sorted(SubsetRandomSampler([4, 7, 9], seed=0)) == [4, 7, 9]
    assert [len(b) for b in BatchSampler(range(7), 3)] == [3, 3, 1]
    assert list(BatchSampler(range(7), 3, True)) == [[0, 1, 2], [3, 4, 5]]
    for size in (0, True, 1.0, "3"):
        with pytest.raises(ValueError, match="BatchSampler: batch_size"):
            BatchSampler(range(7), size)
    with pytest.raises(TypeError, match="drop_last"):
        BatchSampler(range(7), 3, None)
    with pytest.raises(ValueError, match="num_samples must be 1 or more, got 0"):
        RandomSampler(range(7), num_samples=0)


@pytest.mark.parametrize("replacement", [True, False])
def test_weighted_sampler_draws_in_proportion(replacement):
    weights = [0.0, 1.0, 3.0, 6.0]
    if replacement:
        counts = np.bincount(list(WeightedRandomSampler(weights, 20_000, seed=0)), minlength=4)
        assert np.allclose(counts / 20_000, np.array(weights) / 10, atol=0.012)
        return
    sampler = WeightedRandomSampler(weights, 2, False, seed=0)
    pairs = [tuple(sampler) for _ in range(5000)]
    assert all(a != b and 0 not in (a, b) for a, b in pairs)
    share = np.bincount([a for a, _ in pairs], minlength=4) / 5000
    assert np.allclose(share, np.array(weights) / 10, atol=0.025)
    second = np.mean([b == 1 for a, b in pairs if a == 3])
    assert abs(second - 1 / 4) < 0.03


@pytest.mark.parametrize(("arguments", "words"), [
    (([], 1), "must be"), (([1.0, -1.0], 1), "0 or more"), (([0.0], 1), "not all 0"),
    (([float("nan")], 1), "finite"), (([1.0], 0), "num_samples"),
    (([1.0, 0.0], 2, False), "replacement=True"), (([[1.0]], 1), "weights must be"),
])  # fmt: skip
def test_weighted_sampler_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        WeightedRandomSampler(*arguments)


Point = namedtuple("Point", "x y")


def test_collate_as_torch_does():
    torch = pytest.importorskip("torch")
    from torch.utils.data import default_collate as oracle

    def compare(ours, theirs):
        if isinstance(ours, minidl.Tensor):
            theirs = theirs.numpy()
            assert ours.dtype == theirs.dtype
            assert np.array_equal(ours.array, theirs)
        elif isinstance(ours, dict):
            assert ours.keys() == theirs.keys()
            [compare(ours[k], theirs[k]) for k in ours]
        elif isinstance(ours, (list, tuple)) and not all(isinstance(v, (str, bytes)) for v in ours):
            assert type(ours) is type(theirs)
            [compare(a, b) for a, b in zip(ours, theirs)]
        else:
            assert list(ours) == list(theirs)  # text that was in tuples is a tuple in torch

    for batch in [
        [1, 2], [1.5, 2.0], [True, False], ["a", "b"], [b"a"],
        [np.ones((2, 3), np.float32)] * 3, [np.float32(1), np.float32(2)], [np.int16(1)],
        [{"a": 1, "b": np.ones(2)}, {"a": 2, "b": np.zeros(2)}], [(1, "x"), (2, "y")],
        [[1.0, [2, 3]], [4.0, [5, 6]]], [Point(1, 2.0), Point(3, 4.0)], [np.zeros((0, 2))] * 2,
    ]:  # fmt: skip
        compare(default_collate(batch), oracle(batch))
    compare(default_collate([minidl.tensor([1.0, 1.0])] * 2), oracle([torch.ones(2)] * 2))


def test_collate_errors():
    for batch, error, words in [
        ([], ValueError, "no samples"),
        ([np.ones(2), np.ones(3)], ValueError, r"\(2,\) and \(3,\) cannot be stacked"),
        ([{"a": 1}, {"b": 1}], ValueError, "keys differ"),
        ([(1, 2), (1,)], ValueError, "2 and 1 fields"),
        ([np.array(["x"])], TypeError, "<U1"),
        ([object()], TypeError, "a batch of object"),
        ([None], TypeError, "NoneType"),
    ]:
        with pytest.raises(error, match=words):
            default_collate(batch)
    converted = default_convert({"a": [np.ones(2), "x", Point(np.float32(1), 2)]})
    assert converted["a"][0].shape == (2,)
    assert converted["a"][2].x.item() == 1


def test_pad_sequences():
    rows = [[1, 2, 3], [4], []]
    assert pad_sequences(rows).tolist() == [[1, 2, 3], [4, 0, 0], [0, 0, 0]]
    assert pad_sequences(rows).dtype == np.int64
    left = pad_sequences(rows, 2, padding_value=9, padding_side="left")
    assert left.tolist() == [[2, 3], [9, 4], [9, 9]]
    assert pad_sequences(rows, 2, truncate="right").tolist() == [[1, 2], [4, 0], [0, 0]]
    assert pad_sequences(rows, 4, dtype="float32").dtype == np.float32
    assert pad_sequences([np.ones((2, 3)), np.zeros((0, 3))]).shape == (2, 2, 3)
    assert pad_sequences([[], []]).shape == (2, 0)
    for arguments, error, words in [
        (([],), ValueError, "no sequence"),
        (([np.ones((1, 2)), np.ones((1, 3))],), ValueError, "sequence 1 has rows"),
        ((["ab"],), TypeError, "sequence 0"),
        (([[1], 2],), TypeError, "sequence 1"),
        ((np.ones(3),), TypeError, "one sequence"),
        (([[1]], -1), ValueError, "length must be"),
        (([[1]], None, 0, "up"), ValueError, "padding_side must be"),
        (([minidl.tensor([1.0], requires_grad=True)],), ValueError, "detach"),
    ]:
        with pytest.raises(error, match=words):
            pad_sequences(*arguments)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("batch_first", [True, False])
def test_pad_sequence_as_torch_does(rng, side, batch_first):
    torch = pytest.importorskip("torch")
    arrays = [rng.standard_normal((n, 2)).astype("f4") for n in (3, 1, 5)]
    ours = pad_sequence([minidl.tensor(a) for a in arrays], batch_first, 7.0, side)
    theirs = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(a) for a in arrays], batch_first, 7.0, side
    ).numpy()
    assert ours.dtype == theirs.dtype
    assert np.array_equal(ours.array, theirs)


def test_random_state():
    minidl.manual_seed(3)
    state = mrandom.get_rng_state()
    first = mrandom.new_key()
    with mrandom.fork_rng():
        mrandom.default_generator.random(5)
    second = mrandom.new_key()
    mrandom.set_rng_state(state)
    assert mrandom.new_key() == first
    assert mrandom.new_key() == second
    for seed, error in [(-1, ValueError), (1.5, TypeError), (True, TypeError), ("a", TypeError)]:
        with pytest.raises(error, match="manual_seed: the seed must be"):
            minidl.manual_seed(seed)
    with pytest.raises(ValueError, match="no state of a PCG64"):
        mrandom.set_rng_state({"bit_generator": "MT19937"})


def test_iterables_in_a_chain():
    class Count(IterableDataset):
        def __iter__(self):
            return iter(range(3))

    chain = ChainDataset([Count(), Count()])
    assert list(chain) == [0, 1, 2, 0, 1, 2]
    assert list(chain) == list(chain)
    batches = [batch.tolist() for batch in DataLoader(chain, batch_size=4)]
    assert batches == [[0, 1, 2, 0], [1, 2]]


def test_data_sets_side_by_side():
    x, y = np.arange(6.0).reshape(3, 2), [7, 8, 9]
    by_place, by_name = StackDataset(x, y), StackDataset(x=x, y=y)
    assert len(by_place) == len(by_name) == 3
    assert by_place[1][0].tolist() == [2.0, 3.0]
    assert by_place[1][1] == 8
    batch = next(iter(DataLoader(by_name, batch_size=2)))
    assert batch["x"].shape == (2, 2)
    assert batch["y"].tolist() == [7, 8]
    with pytest.raises(ValueError, match="have 2, 3 samples"):
        StackDataset(x, y[:2])
    for args, kwargs in (((), {}), ((x,), {"y": y})):
        with pytest.raises(ValueError, match="one by one or all by name"):
            StackDataset(*args, **kwargs)
