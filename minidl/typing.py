"""Names for the arrays and shapes that travel through minidl."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""Any ndarray; its docstring says shape and kind."""

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
"""float32 or float64, as the caller chose: kernels and ops keep the dtype they are given."""

IntArray: TypeAlias = npt.NDArray[np.integer[Any]]
"""Indices, ids and counts: int64 unless said."""

BoolArray: TypeAlias = npt.NDArray[np.bool_]
"""Masks."""

Shape: TypeAlias = tuple[int, ...]
"""The shape of an array."""
