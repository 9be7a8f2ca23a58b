"""All parameters as one vector, and back."""

from collections.abc import Iterable

import numpy as np

from minidl._tensor import Tensor
from minidl.functional.joining import cat


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one after the other, as a new vector on their tape."""
    flat = [p.reshape(-1) for p in parameters]
    return cat(flat) if flat else Tensor(np.empty(0, np.float32))


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy a vector's elements into the parameters, in place."""
    listed = list(parameters)
    total = sum(p.array.size for p in listed)
    if vec.shape != (total,):
        raise ValueError(
            f"vector_to_parameters: the parameters have {total} elements, the vector {vec.shape}"
        )
    at = 0
    for p in listed:
        p.array[...] = vec.array[at : at + p.array.size].reshape(p.shape)
        p.version[0] += 1
        at += p.array.size
