"""Samplers: in which order the samples of a data set come.

A drawn order depends on (seed, epoch) alone. The seed is drawn from `generator`, or the default
one, when the sampler is made; each pass is the next epoch, unless `set_epoch` says which it is.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from minidl._tensor import Tensor
from minidl.random import check_seed, generator_or_default
from minidl.typing import IntArray

T_co = TypeVar("T_co", covariant=True)


class Sampler(Generic[T_co]):
    """Base: a subclass has `__iter__()`, giving indices, and `__len__()`."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} needs __iter__()")


class SequentialSampler(Sampler[int]):
    """0, 1, 2, ..."""

    def __init__(self, data_source: Any):
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))

    def __len__(self) -> int:
        return len(self.data_source)

    def order(self) -> IntArray:
        """The indices of a pass, at once."""
        return np.arange(len(self))


class _Drawn(Sampler[int]):
    """Base of the samplers that draw: one order for each (seed, epoch)."""

    def __init__(self, generator: np.random.Generator | None, seed: int | None):
        name = type(self).__name__
        if seed is None:
            seed = int(generator_or_default(name, generator).integers(2**63))
        elif generator is not None:
            raise ValueError(f"{name}: give a seed or a generator, not both")
        self.seed = check_seed(name, seed)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The next pass is that of this epoch."""
        self.epoch = epoch

    def order(self) -> IntArray:
        """The indices of the pass of this epoch, at once; the next one is then the next epoch's."""
        rng = np.random.default_rng([self.seed, self.epoch])
        self.epoch += 1
        return self._draw(rng)

    def _draw(self, rng: np.random.Generator) -> IntArray:
        raise NotImplementedError

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())

    def state_dict(self) -> dict[str, Any]:
        """The seed and the number of the next pass."""
        return {"seed": self.seed, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Draw as the sampler did that gave this state."""
        self.seed, self.epoch = state["seed"], state["epoch"]


class RandomSampler(_Drawn):
    """All samples in random order; with replacement, `num_samples` draws of any of them."""

    def __init__(
        self,
        data_source: Any,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: np.random.Generator | None = None,
        *,
        seed: int | None = None,
    ):
        super().__init__(generator, seed)
        self.data_source = data_source
        self.replacement, self._num_samples = replacement, num_samples
        if self.num_samples < 1:
            raise ValueError(
                f"RandomSampler: num_samples must be 1 or more, got {self.num_samples}"
                + ("; the data set is empty" if num_samples is None else "")
            )

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def _draw(self, rng: np.random.Generator) -> IntArray:
        size = len(self.data_source)
        if self.replacement:
            return rng.integers(0, size, self.num_samples)
        passes = -(-self.num_samples // size)
        return np.concatenate([rng.permutation(size) for _ in range(passes)])[: self.num_samples]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(_Drawn):
    """The given indices in random order."""

    def __init__(
        self,
        indices: Sequence[int],
        generator: np.random.Generator | None = None,
        *,
        seed: int | None = None,
    ):
        super().__init__(generator, seed)
        self.indices = indices

    def _draw(self, rng: np.random.Generator) -> IntArray:
        return np.asarray(self.indices, np.int64)[rng.permutation(len(self.indices))]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(_Drawn):
    """Draws in proportion to weights, which need not have sum 1."""

    def __init__(
        self,
        weights: Any,
        num_samples: int,
        replacement: bool = True,
        generator: np.random.Generator | None = None,
        *,
        seed: int | None = None,
    ):
        super().__init__(generator, seed)
        table = np.asarray(weights.array if isinstance(weights, Tensor) else weights, np.float64)
        if table.ndim != 1 or not table.size:
            raise ValueError(f"WeightedRandomSampler: weights must be (N,), got {table.shape}")
        if not np.isfinite(table).all() or table.min() < 0 or not table.sum():
            raise ValueError(
                "WeightedRandomSampler: weights must be finite, 0 or more, and not all 0"
            )
        if num_samples < 1:
            raise ValueError(f"WeightedRandomSampler: num_samples must be > 0, got {num_samples}")
        if not replacement and num_samples > np.count_nonzero(table):
            raise ValueError(
                f"WeightedRandomSampler: {num_samples} samples without replacement need as many "
                f"weights above 0, got {np.count_nonzero(table)}; use replacement=True"
            )
        self.weights, self.num_samples, self.replacement = table, num_samples, replacement

    def _draw(self, rng: np.random.Generator) -> IntArray:
        if self.replacement:
            ends = np.cumsum(self.weights)
            places = rng.random(self.num_samples) * ends[-1]
            return np.searchsorted(ends, places, side="right").clip(max=len(ends) - 1)
        # Efraimidis & Spirakis 2006: the largest keys log(u) / w are such a draw, in its order.
        with np.errstate(divide="ignore"):
            keys = np.log(rng.random(len(self.weights))) / self.weights
        return np.argsort(-keys, kind="stable")[: self.num_samples]

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of `batch_size` indices of another sampler; the last may be shorter."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool = False):
        self.sampler = sampler
        self.batch_size = check_batch_size("BatchSampler", batch_size)
        if not isinstance(drop_last, bool):
            raise TypeError(f"BatchSampler: drop_last must be True or False, got {drop_last!r}")
        self.drop_last = drop_last

    def batches(self) -> Iterator[Any]:
        """The batches, as arrays where the sampler has its order as one."""
        if not hasattr(self.sampler, "order"):
            return iter(self)
        size, order = self.batch_size, self.sampler.order()
        stop = len(order) - len(order) % size if self.drop_last else len(order)
        return (order[start : start + size] for start in range(0, stop, size))

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        full, rest = divmod(len(self.sampler), self.batch_size)  # type: ignore[arg-type]
        return full + (1 if rest and not self.drop_last else 0)

    def set_epoch(self, epoch: int) -> None:
        """Told to the sampler, if it wants to know."""
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The sampler's state, if it has one."""
        return self.sampler.state_dict() if hasattr(self.sampler, "state_dict") else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give it back to the sampler."""
        if state and hasattr(self.sampler, "load_state_dict"):
            self.sampler.load_state_dict(state)


def check_batch_size(name: str, size: Any) -> int:
    """A whole number of 1 or more."""
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"{name}: batch_size must be a whole number of 1 or more, got {size!r}")
    return int(size)
