"""Samples to a batch."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from minidl._tensor import Tensor


def default_collate(batch: Any) -> Any:
    """A list of samples as one batch, field by field, with torch's rules.

    Tensors, arrays and NumPy scalars are stacked; bools and ints become int64 or bool, floats
    float64 tensors (N,); text and bytes stay a list; dictionaries, named tuples, tuples (as lists)
    and lists are taken apart and their fields collated.

    Raises ValueError naming the shapes or keys that differ, TypeError for any other value.
    """
    batch = list(batch)
    if not batch:
        raise ValueError("default_collate: a batch of no samples has no shape; give at least one")
    first = batch[0]
    if isinstance(first, (Tensor, np.ndarray, np.generic)):
        return _stack(batch)
    if isinstance(first, bool):
        return Tensor(np.array(batch, np.bool_))
    if isinstance(first, float):
        return Tensor(np.array(batch, np.float64))
    if isinstance(first, int):
        return Tensor(np.array(batch, np.int64))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        if any(sample.keys() != first.keys() for sample in batch):
            raise ValueError(
                f"default_collate: the samples' keys differ: {_differing(map(sorted, batch))}"
            )
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, (list, tuple)):
        if any(len(sample) != len(first) for sample in batch):
            raise ValueError(
                f"default_collate: samples have {_differing(map(len, batch))} fields; all must "
                "have as many. For sequences of any length give collate_fn=pad_sequences"
            )
        fields = [default_collate(field) for field in zip(*batch)]
        return type(first)(*fields) if hasattr(first, "_fields") else fields
    raise TypeError(
        f"default_collate: cannot make a batch of {type(first).__name__}; samples must be tensors, "
        "arrays, numbers, text, or dictionaries, tuples and lists of them; or give a collate_fn"
    )


def default_convert(data: Any) -> Any:
    """A sample with its arrays as tensors: what a loader with batch_size=None gives."""
    if isinstance(data, (np.ndarray, np.generic)):
        return Tensor(np.asarray(data)) if data.dtype.kind in "biuf" else data
    if isinstance(data, Mapping):
        return {key: default_convert(value) for key, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(default_convert, data))
    if isinstance(data, (list, tuple)):
        return [default_convert(value) for value in data]
    return data


def _stack(batch: list[Any]) -> Tensor:
    arrays = [x.array if isinstance(x, Tensor) else np.asarray(x) for x in batch]
    if arrays[0].dtype.kind not in "biuf":
        raise TypeError(
            f"default_collate: arrays of type {arrays[0].dtype} cannot become a tensor; "
            "give numbers, or a collate_fn"
        )
    if any(a.shape != arrays[0].shape for a in arrays):
        raise ValueError(
            f"default_collate: shapes {_differing(a.shape for a in arrays)} cannot be stacked; "
            "all samples must have one shape. Pad sequences with collate_fn=pad_sequences"
        )
    return Tensor(np.stack(arrays))


def _differing(values: Any) -> str:
    distinct: list[Any] = []
    for value in values:
        if value not in distinct:
            distinct.append(value)
    return " and ".join(map(str, distinct[:2]))
