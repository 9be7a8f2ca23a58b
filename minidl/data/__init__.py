"""Data sets, samplers and the loader that makes batches of them.

    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True, seed=0)
    for x, y in loader: ...

A shuffled order depends on the seed and the number of the epoch alone, and a loader's state_dict
says where in the epoch it is: one that is given that state goes on with the very next batch.
"""

from minidl.data.collate import default_collate, default_convert
from minidl.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from minidl.data.loader import DataLoader
from minidl.data.padding import pad_sequence, pad_sequences
from minidl.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "default_convert",
    "pad_sequence",
    "pad_sequences",
    "random_split",
]
