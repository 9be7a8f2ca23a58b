"""DataLoader: the batches, their order, going on where it stopped, the background thread."""

import gc
import threading
import time
import traceback

import numpy as np
import pytest

import minidl
from minidl import tensor
from minidl.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    TensorDataset,
)


class Squares(Dataset):
    def __init__(self, size):
        self.size = size

    def __getitem__(self, index):
        if not 0 <= index < self.size:
            raise IndexError(index)
        return {"x": index, "y": np.float32(index * index)}

    def __len__(self):
        return self.size


class Stream(IterableDataset):
    def __init__(self, size):
        self.size, self.epoch = size, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        return iter(range(100 * self.epoch, 100 * self.epoch + self.size))


def plain_values(batch):
    if isinstance(batch, dict):
        return {k: plain_values(v) for k, v in batch.items()}
    if isinstance(batch, list):
        return [plain_values(v) for v in batch]
    return np.asarray(batch).tolist()


def numbers(size):
    return TensorDataset(np.arange(size), np.arange(size)[:, None] * 2.0)


def firsts(loader):
    return [batch[0].tolist() for batch in loader]


def test_batches_in_order():
    loader = DataLoader(numbers(7), batch_size=3)
    assert firsts(loader) == [[0, 1, 2], [3, 4, 5], [6]]
    assert len(loader) == 3
    x, y = next(iter(loader))
    assert (x.dtype, y.dtype, y.shape) == (np.int64, np.float64, (3, 1))
    assert firsts(DataLoader(numbers(7), 3, drop_last=True)) == [[0, 1, 2], [3, 4, 5]]
    assert len(DataLoader(numbers(7), 3, drop_last=True)) == 2
    assert firsts(DataLoader(numbers(0), 3)) == []
    assert firsts(DataLoader(numbers(2), 3, drop_last=True)) == []


def test_the_quick_way_gives_what_single_samples_give():
    quick = DataLoader(numbers(10), 4, shuffle=True, seed=3)

    class Plain(Dataset):
        __getitem__ = lambda self, i: numbers(10)[i]
        __len__ = lambda self: 10

    slow = DataLoader(Plain(), 4, shuffle=True, seed=3)
    for a, b in zip(quick, slow):
        for left, right in zip(a, b):
            assert np.array_equal(left.array, right.array)
            assert left.dtype == right.dtype
    part = Subset(Subset(numbers(10), [5, 6, 7, 8]), np.array([3, 0, -2]))
    assert firsts(DataLoader(part, 2)) == [[8, 5], [7]]
    assert part[0][0].item() == 8
    batch = next(iter(quick))
    batch[0].array[:] = -1  # a batch is a copy
    assert quick.dataset.tensors[0].array.min() == 0


def test_each_epoch_has_an_order_of_its_own_that_depends_on_seed_and_epoch_alone():
    loader = DataLoader(numbers(20), 6, shuffle=True, seed=5)
    epochs = [firsts(loader) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert all(sorted(i for b in e for i in b) == list(range(20)) for e in epochs)
    again = DataLoader(numbers(20), 6, shuffle=True, seed=5)
    next(iter(again))  # a pass that is broken off counts as one
    assert firsts(again) == epochs[1]
    again.set_epoch(2)
    minidl.manual_seed(99)
    assert firsts(again) == epochs[2]
    assert firsts(DataLoader(numbers(20), 6, shuffle=True, seed=6)) != epochs[0]


def test_without_a_seed_the_default_generator_gives_it():
    orders = []
    for _ in range(2):
        minidl.manual_seed(4)
        orders.append(firsts(DataLoader(numbers(20), 20, shuffle=True)))
    assert orders[0] == orders[1]
    a, b = (
        firsts(DataLoader(numbers(20), 20, True, generator=np.random.default_rng(1)))
        for _ in range(2)
    )
    assert a == b != orders[0]


def test_two_passes_at_once():
    loader = DataLoader(numbers(12), 4, shuffle=True, seed=1)
    expected = [firsts(loader), firsts(loader)]
    loader.set_epoch(0)
    pairs = list(zip(loader, loader))
    assert [p[0][0].tolist() for p in pairs] == expected[0]
    assert [p[1][0].tolist() for p in pairs] == expected[1]


def test_samplers_and_collate():
    assert firsts(DataLoader(numbers(9), 2, sampler=[4, 2, 8])) == [[4, 2], [8]]
    batches = BatchSampler(RandomSampler(range(9), seed=0), 4, True)
    got = firsts(DataLoader(numbers(9), batch_sampler=batches))
    assert [len(b) for b in got] == [4, 4]
    assert firsts(DataLoader(numbers(9), batch_sampler=[[1], [2, 3]])) == [[1], [2, 3]]
    got = list(DataLoader(Squares(5), 2, collate_fn=len))
    assert got == [2, 2, 1]
    first = next(iter(DataLoader(Squares(5), 3)))
    assert first["x"].tolist() == [0, 1, 2]
    assert (first["y"].dtype, first["y"].tolist()) == (np.float32, [0, 1, 4])
    assert [x.shape for x, _ in DataLoader(numbers(3), batch_size=None)] == [()] * 3
    assert [x.tolist() for x in DataLoader(np.arange(6.0).reshape(3, 2), 2)] == [
        [[0, 1], [2, 3]], [[4, 5]]]  # fmt: skip


def test_streams():
    loader = DataLoader(Stream(7), 3)
    assert [b.tolist() for b in loader] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [b.tolist() for b in loader] == [[100, 101, 102], [103, 104, 105], [106]]
    assert [b.tolist() for b in DataLoader(Stream(7), 3, drop_last=True)] == [[0, 1, 2], [3, 4, 5]]
    assert list(DataLoader(Stream(3), None)) == [0, 1, 2]
    with pytest.raises(TypeError, match="Stream has no length"):
        len(loader)


@pytest.mark.parametrize("prefetch", [0, 1, 4])
@pytest.mark.parametrize("make", [
    lambda **k: DataLoader(numbers(20), 3, shuffle=True, seed=1, **k),
    lambda **k: DataLoader(Squares(20), 3, shuffle=True, seed=1, drop_last=True, **k),
    lambda **k: DataLoader(numbers(20), None, shuffle=True, seed=1, **k),
    lambda **k: DataLoader(Stream(20), 3, **k),
    lambda **k: DataLoader(numbers(20), 3, sampler=list(range(19, -1, -1)), **k),
    lambda **k: DataLoader(
        numbers(20), batch_sampler=BatchSampler(RandomSampler(range(20), seed=2), 6), **k),
])  # fmt: skip
def test_going_on_after_any_batch_gives_the_very_rest(make, prefetch):
    whole = make()
    next(iter(whole))
    expected = [plain_values(b) for b in whole] + [plain_values(b) for b in whole]
    size = len(expected) // 2
    for stop in range(size + 1):
        first, second = make(prefetch=prefetch), make(prefetch=prefetch)
        if hasattr(second.sampler, "seed"):
            second.sampler.seed = 12345  # the state brings the seed
        next(iter(first))
        batches = iter(first)
        got = [plain_values(next(batches)) for _ in range(stop)]
        second.load_state_dict(first.state_dict())
        got += [plain_values(b) for b in second]
        assert got == expected[:size], stop
        assert [plain_values(b) for b in second] == expected[size:]


def test_a_state_of_another_loader_is_refused():
    state = DataLoader(numbers(20), 3, shuffle=True).state_dict()
    with pytest.raises(ValueError, match="20 samples in 7 batches, this one 20 samples in 5"):
        DataLoader(numbers(20), 4, shuffle=True).load_state_dict(state)
    with pytest.raises(ValueError, match="this one 21 samples"):
        DataLoader(numbers(21), 3).load_state_dict(state)
    with pytest.raises(ValueError, match="no state of a DataLoader"):
        DataLoader(numbers(20), 3).load_state_dict({"epoch": 1})


# the background thread


def waiting_threads():
    return [t for t in threading.enumerate() if t.name == "minidl-prefetch"]


def until_gone():
    end = time.monotonic() + 5
    while waiting_threads() and time.monotonic() < end:
        time.sleep(0.002)
    return not waiting_threads()


class Broken(Squares):
    def __getitem__(self, index):
        if index == 7:
            raise KeyError("the seventh is bad")
        return super().__getitem__(index)


def test_prefetch_gives_the_same_and_ends_its_thread():
    for make in (lambda k: DataLoader(numbers(50), 7, True, seed=1, prefetch=k),
                 lambda k: DataLoader(Stream(50), 7, prefetch=k)):  # fmt: skip
        plain, ahead = make(0), make(3)
        assert list(map(plain_values, plain)) == list(map(plain_values, ahead))
        assert not waiting_threads()


def test_an_error_comes_with_its_place_after_the_batches_before_it():
    batches = iter(DataLoader(Broken(20), 3, prefetch=8))
    assert [next(batches)["x"].tolist() for _ in range(2)] == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(KeyError, match="the seventh is bad") as error:
        next(batches)
    assert "in __getitem__" in "".join(traceback.format_tb(error.value.__traceback__))
    assert until_gone()
    with pytest.raises(StopIteration):
        next(batches)


def test_breaking_off_and_forgetting_end_the_thread():
    for _ in DataLoader(Squares(1000), 2, prefetch=2):
        break
    assert until_gone()
    batches = iter(DataLoader(Squares(1000), 2, prefetch=2))
    next(batches)
    del batches
    gc.collect()
    assert until_gone()
    iter(DataLoader(Squares(1000), 2, prefetch=2))  # never read
    gc.collect()
    assert until_gone()


def test_the_queue_is_bounded_and_works_ahead():
    made = []

    class Noted(Squares):
        def __getitem__(self, index):
            made.append(index)
            return index

    batches = iter(DataLoader(Noted(100), 1, prefetch=3))
    next(batches)
    end = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < end:  # one handed out, three waiting
        time.sleep(0.002)
    time.sleep(0.03)
    assert made == [0, 1, 2, 3]
    batches.close()
    assert until_gone()


# bad arguments


@pytest.mark.parametrize(("arguments", "error", "words"), [
    ({"batch_size": 0}, ValueError, "batch_size must be a whole number of 1 or more, got 0"),
    ({"batch_size": -2}, ValueError, "batch_size"),
    ({"batch_size": 2.5}, ValueError, "batch_size"),
    ({"batch_size": True}, ValueError, "batch_size"),
    ({"shuffle": True, "seed": -1}, ValueError, "seed must be 0 or more, got -1"),
    ({"seed": -1}, ValueError, "seed must be 0 or more, got -1"),
    ({"shuffle": True, "seed": 1.5}, TypeError, "seed must be a whole number"),
    ({"shuffle": True, "generator": 3}, TypeError, "numpy.random.Generator"),
    ({"shuffle": True, "seed": 1, "generator": np.random.default_rng()}, ValueError, "not both"),
    ({"shuffle": True, "sampler": [1]}, ValueError, "not both"),
    ({"batch_sampler": [[1]], "batch_size": 2}, ValueError, "must be left out"),
    ({"batch_sampler": [[1]], "drop_last": True}, ValueError, "must be left out"),
    ({"num_workers": 2}, ValueError, "prefetch=2"),
    ({"prefetch": -1}, ValueError, "prefetch"),
    ({"collate_fn": 3}, TypeError, "cannot be called"),
    ({"batch_size": None, "drop_last": True}, ValueError, "drop"),
    ({"dataset": "path.csv"}, TypeError, "no data set"),
    ({"dataset": 5}, TypeError, "no data set"),
    ({"dataset": numbers(0), "shuffle": True}, ValueError, "the data set is empty"),
    ({"dataset": Stream(3), "shuffle": True}, ValueError, "decides its order itself"),
    ({"dataset": Dataset()}, TypeError, "no __len__"),
])  # fmt: skip
def test_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words) as caught:
        DataLoader(**({"dataset": numbers(5)} | arguments))
    assert "\n" not in str(caught.value)


def test_what_a_subclass_must_have():
    with pytest.raises(NotImplementedError, match="__getitem__"):
        Dataset()[0]
    with pytest.raises(NotImplementedError, match="__iter__"):
        next(iter(IterableDataset()))
    with pytest.raises(NotImplementedError, match="__iter__"):
        iter(Sampler())


def test_the_names_of_torch_utils_data():
    import minidl.utils.data as there

    assert there.DataLoader is DataLoader
    assert minidl.utils.data.TensorDataset is TensorDataset
    torch = pytest.importorskip("torch")
    ours = {n for n in there.__all__ if n not in ("pad_sequence", "pad_sequences")}
    assert all(hasattr(torch.utils.data, name) for name in ours), ours
    assert tensor([1]).shape == (1,)
