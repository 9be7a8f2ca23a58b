"""DataLoader: batches of a data set, in an order that can be repeated and resumed."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from minidl.data.collate import default_collate, default_convert
from minidl.data.dataset import IterableDataset
from minidl.data.prefetch import Prefetch
from minidl.data.sampler import (
    BatchSampler,
    RandomSampler,
    SequentialSampler,
    check_batch_size,
)
from minidl.random import check_seed, generator_or_default


class DataLoader:
    """Batches of a data set, with torch.utils.data.DataLoader's arguments.

    batch_size None: single samples, as the data set gives them. shuffle: a new order each epoch,
    drawn from (seed, epoch) alone; the seed comes from `seed`, or is drawn from `generator` or the
    default one when the loader is made. sampler, batch_sampler: indices, or lists of them, to use
    instead. collate_fn: a list of samples to a batch, `default_collate` if None. prefetch: how many
    batches a background thread makes ahead; a data set that draws random numbers must then have a
    generator of its own. num_workers: only 0, there are no worker processes.

    Each `iter(loader)` begins the next epoch, whether or not the one before was read to its end.
    `state_dict()` tells the epoch and the number of batches handed out; a loader that is given it
    begins with the batch after those. With a sampler, or an IterableDataset, of your own this is
    exact if it gives the same again for the same `set_epoch(epoch)`.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        drop_last: bool = False,
        *,
        generator: np.random.Generator | None = None,
        seed: int | None = None,
        prefetch: int = 0,
    ):
        if num_workers:
            raise ValueError(
                f"DataLoader: num_workers={num_workers} is not supported, there are no worker "
                "processes; use num_workers=0, and prefetch=2 for a background thread"
            )
        if isinstance(prefetch, bool) or not isinstance(prefetch, int) or prefetch < 0:
            raise ValueError(f"DataLoader: prefetch must be 0 or more batches, got {prefetch!r}")
        if isinstance(dataset, (str, bytes)) or not (
            hasattr(dataset, "__getitem__") or isinstance(dataset, IterableDataset)
        ):
            raise TypeError(
                f"DataLoader: {type(dataset).__name__} is no data set; give one with __getitem__ "
                "and __len__, or an IterableDataset"
            )
        if collate_fn is not None and not callable(collate_fn):
            raise TypeError(f"DataLoader: collate_fn {collate_fn!r} cannot be called")
        if batch_sampler is not None and (
            batch_size != 1 or shuffle or sampler is not None or drop_last
        ):
            raise ValueError(
                "DataLoader: batch_sampler makes the batches, so batch_size, shuffle, sampler and "
                "drop_last must be left out"
            )
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: give a sampler or shuffle=True, not both")
        if batch_size is None and drop_last:
            raise ValueError("DataLoader: batch_size=None makes no batches to drop the last of")
        if seed is not None:
            check_seed("DataLoader", seed)
        generator_or_default("DataLoader", generator)
        self.dataset, self.prefetch, self.drop_last = dataset, prefetch, drop_last
        self.batch_size = None if batch_size is None else check_batch_size("DataLoader", batch_size)
        self.collate_fn = collate_fn
        self.epoch = 0
        self._given = 0  # batches of this epoch that were handed out
        self._started = False  # whether this epoch was begun, so that the next pass is another one
        self._streams = isinstance(dataset, IterableDataset)
        self.sampler: Any = None
        self.batch_sampler: Any = None
        if self._streams:
            if shuffle or sampler is not None or batch_sampler is not None:
                raise ValueError(
                    "DataLoader: an IterableDataset decides its order itself; leave out shuffle, "
                    "sampler and batch_sampler"
                )
            return
        if sampler is None and batch_sampler is None:
            if not hasattr(dataset, "__len__"):
                raise TypeError(
                    f"DataLoader: {type(dataset).__name__} has no __len__; give it one, or a "
                    "sampler, or make it an IterableDataset"
                )
            if shuffle:
                sampler = RandomSampler(dataset, generator=generator, seed=seed)
            else:
                sampler = SequentialSampler(dataset)
        self.sampler = sampler
        if batch_sampler is None and self.batch_size is not None:
            batch_sampler = BatchSampler(sampler, self.batch_size, drop_last)  # type: ignore[arg-type]
        self.batch_sampler = batch_sampler

    def __len__(self) -> int:
        """The number of batches of an epoch."""
        if not self._streams:
            return len(self.sampler if self.batch_sampler is None else self.batch_sampler)
        if not hasattr(self.dataset, "__len__"):
            raise TypeError(f"DataLoader: {type(self.dataset).__name__} has no length")
        if self.batch_size is None:
            return len(self.dataset)
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (1 if rest and not self.drop_last else 0)

    def __iter__(self) -> Iterator[Any]:
        if self._started:
            self.set_epoch(self.epoch + 1)
        self._started = True
        batches = self._batches(self._given)
        return self._handing_out(batches, self.epoch)

    def _handing_out(self, batches: Iterator[Any], epoch: int) -> Iterator[Any]:
        """Count the batches as they go, and end the epoch behind the last."""
        source = Prefetch(batches, self.prefetch) if self.prefetch else batches
        try:
            for batch in source:
                if epoch == self.epoch:
                    self._given += 1
                yield batch
            if epoch == self.epoch:
                self.set_epoch(epoch + 1)
        finally:
            source.close()  # type: ignore[attr-defined]

    def set_epoch(self, epoch: int) -> None:
        """The next pass is this epoch, from its start."""
        self.epoch, self._given, self._started = epoch, 0, False

    def _batches(self, skip: int) -> Iterator[Any]:
        """The batches of this epoch from number `skip` on."""
        orders = self._orders
        if hasattr(orders, "set_epoch"):
            orders.set_epoch(self.epoch)
        if self._streams:
            return self._streamed(skip)
        if self.batch_sampler is None:
            return self._single(itertools.islice(iter(orders), skip, None))
        indices = orders.batches() if hasattr(orders, "batches") else iter(orders)
        return self._indexed(itertools.islice(indices, skip, None))

    def _indexed(self, batches: Iterator[Any]) -> Iterator[Any]:
        dataset, collate = self.dataset, self.collate_fn
        take = getattr(dataset, "take_batch", None) if collate is None else None
        for indices in batches:
            if take is not None:
                yield take(np.asarray(indices))
            else:
                numbers = indices.tolist() if isinstance(indices, np.ndarray) else indices
                yield (collate or default_collate)([dataset[i] for i in numbers])

    def _single(self, indices: Iterator[Any]) -> Iterator[Any]:
        convert = self.collate_fn or default_convert
        for i in indices:
            yield convert(self.dataset[i])

    def _streamed(self, skip: int) -> Iterator[Any]:
        samples = iter(self.dataset)
        if self.batch_size is None:
            for sample in itertools.islice(samples, skip, None):
                yield (self.collate_fn or default_convert)(sample)
            return
        collate = self.collate_fn or default_collate
        samples = itertools.islice(samples, skip * self.batch_size, None)
        while batch := list(itertools.islice(samples, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield collate(batch)

    @property
    def _orders(self) -> Any:
        """What decides the order: the data set itself, the batch sampler, or the sampler."""
        if self._streams:
            return self.dataset
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    # where it is

    def state_dict(self) -> dict[str, Any]:
        """The epoch, the batches of it that were handed out, and the samplers' seeds."""
        orders = self._orders
        state = orders.state_dict() if hasattr(orders, "state_dict") else {}
        return {"epoch": self.epoch, "batch": self._given, "of": self._size(), "order": state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the batches that the loader which gave this state had handed out."""
        if set(state) != {"epoch", "batch", "of", "order"}:
            raise ValueError("load_state_dict of DataLoader: this is no state of a DataLoader")
        if state["of"] != self._size():
            raise ValueError(
                f"load_state_dict of DataLoader: the saved one had {_sizes(state['of'])}, this one "
                f"{_sizes(self._size())}; give the same data set and batch_size"
            )
        orders = self._orders
        if state["order"] and hasattr(orders, "load_state_dict"):
            orders.load_state_dict(state["order"])
        self.epoch, self._given, self._started = state["epoch"], state["batch"], False

    def _size(self) -> list[int | None]:
        samples = len(self.dataset) if hasattr(self.dataset, "__len__") else None
        batches = None if self._streams and samples is None else len(self)
        return [samples, batches]


def _sizes(size: list[int | None]) -> str:
    samples, batches = size
    return f"{samples} samples in {batches} batches"
