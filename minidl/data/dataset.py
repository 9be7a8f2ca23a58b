"""Data sets: samples by number, or one after the other."""

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from minidl._tensor import Tensor
from minidl.random import generator_or_default
from minidl.typing import Array, IntArray

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """Samples by number: a subclass has `__getitem__(index)` and `__len__()`.

    One that also has `take_batch(indices)`, giving the finished batch of an array of indices, is
    read a batch at a time by a DataLoader without collate_fn: TensorDataset does this.
    """

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__} needs __getitem__(index)")

    def __add__(self, other: "Dataset[Any]") -> "ConcatDataset":
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """Samples one after the other, where they have no numbers: a subclass has `__iter__()`.

    If it has `set_epoch(epoch)`, the DataLoader calls that before it begins an epoch.
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} needs __iter__()")


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Rows of tensors or arrays of equal length: sample i is the tuple of their rows i."""

    def __init__(self, *tensors: Any):
        if not tensors:
            raise ValueError("TensorDataset: give at least one tensor or array")
        for i, t in enumerate(tensors):
            if not isinstance(t, (Tensor, np.ndarray)):
                raise TypeError(
                    f"TensorDataset: argument {i} is {type(t).__name__}; give tensors or arrays"
                )
            if not t.ndim:
                raise ValueError(f"TensorDataset: argument {i} is 0-d, so it has no rows")
        self.tensors = tuple([t if isinstance(t, Tensor) else Tensor(t) for t in tensors])
        lengths = [len(t) for t in self.tensors]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"TensorDataset: the tensors have {_listed(lengths)} rows; all must have as many"
            )

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple([Tensor(np.asarray(t.array[index])) for t in self.tensors])

    def __len__(self) -> int:
        return len(self.tensors[0])

    def take_batch(self, indices: IntArray) -> list[Tensor]:
        """The batch of these rows, new arrays."""
        return [Tensor(t.array.take(indices, 0)) for t in self.tensors]


class Subset(Dataset[T_co]):
    """Some samples of a data set, by their indices there."""

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int] | Array):
        self.dataset = dataset
        self.indices = indices
        table = np.asarray(indices.array if isinstance(indices, Tensor) else indices)
        if table.ndim != 1 or (table.size and table.dtype.kind not in "iu"):
            raise TypeError(
                f"Subset: indices must be a list of whole numbers, got {table.dtype} "
                f"of shape {table.shape}"
            )
        self._table: IntArray = table.astype(np.int64, copy=False)
        size = _length(dataset)
        if size is not None and table.size and not -size <= table.min() <= table.max() < size:
            raise IndexError(
                f"Subset: indices {table.min()} to {table.max()} do not fit a data set of {size}"
            )
        if hasattr(dataset, "take_batch"):
            self.take_batch = self._take_batch

    def __getitem__(self, index: Any) -> T_co:
        return self.dataset[int(self._table[index])]

    def __len__(self) -> int:
        return len(self._table)

    def _take_batch(self, indices: IntArray) -> Any:
        return self.dataset.take_batch(self._table[indices])  # type: ignore[attr-defined]


class ConcatDataset(Dataset[T_co]):
    """One data set after the other."""

    def __init__(self, datasets: Iterable[Dataset[T_co]]):
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: give at least one data set")
        for i, dataset in enumerate(self.datasets):
            if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
                raise TypeError(f"ConcatDataset: data set {i} has no length; chain iterables")
        self.cumulative_sizes = np.cumsum([_length(d) for d in self.datasets]).tolist()

    def __getitem__(self, index: int) -> T_co:
        size = len(self)
        if not -size <= index < size:
            raise IndexError(f"ConcatDataset: index {index} is outside {size} samples")
        index %= size
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - ([0, *self.cumulative_sizes][which])]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset[T_co]):
    """One iterable data set after the other."""

    def __init__(self, datasets: Iterable[Dataset[T_co]]):
        self.datasets = list(datasets)

    def __iter__(self) -> Iterator[T_co]:
        for dataset in self.datasets:
            yield from dataset  # type: ignore[misc]


class StackDataset(Dataset[Any]):
    """Data sets of equal length side by side: sample i has the sample i of each.

    Given one by one, samples are tuples; given by name, dicts.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        if bool(args) == bool(kwargs):
            raise ValueError("StackDataset: give data sets, either one by one or all by name")
        self.datasets: Any = args or kwargs
        lengths = {len(dataset) for dataset in args or kwargs.values()}
        if len(lengths) > 1:
            raise ValueError(
                f"StackDataset: the data sets have {_listed(sorted(lengths))} samples; all must "
                "have as many"
            )

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple([dataset[index] for dataset in self.datasets])

    def __len__(self) -> int:
        first, *_ = self.datasets.values() if isinstance(self.datasets, dict) else self.datasets
        return len(first)


def random_split(
    dataset: Dataset[T_co],
    lengths: Sequence[float],
    generator: np.random.Generator | None = None,
) -> list[Subset[T_co]]:
    """Parts of a data set, drawn without overlap.

    lengths: how many samples each part has, in sum all of them; or fractions with sum 1, where the
    samples that rounding down leaves over go to the parts in turn.
    """
    size = _length(dataset)
    if size is None:
        raise TypeError("random_split: the data set has no length")
    if any(n < 0 for n in lengths):
        raise ValueError(f"random_split: lengths must be 0 or more, got {_listed(lengths)}")
    if math.isclose(sum(lengths), 1):
        counts = [math.floor(size * part) for part in lengths]
        for i in range(size - sum(counts)):
            counts[i % len(counts)] += 1
    else:
        counts = [int(n) for n in lengths]
        if counts != list(lengths) or sum(counts) != size:
            raise ValueError(
                f"random_split: lengths {_listed(lengths)} add up to {sum(lengths):g}, not to the "
                f"{size} samples; give counts with that sum, or fractions with sum 1"
            )
    order = generator_or_default("random_split", generator).permutation(size)
    ends = np.cumsum(counts)
    return [Subset(dataset, order[end - n : end]) for n, end in zip(counts, ends)]


def _length(dataset: Any) -> int | None:
    return len(dataset) if hasattr(dataset, "__len__") else None


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(f"{v:g}" for v in values)
