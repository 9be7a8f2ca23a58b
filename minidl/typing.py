"""Names for the arrays and shapes that travel through minidl."""

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]
    """Any ndarray; its docstring says shape and kind."""

    FloatArray: TypeAlias = NDArray[np.floating[Any]]
    """float32 or float64, as the caller chose: kernels and ops keep the dtype they are given."""

    IntArray: TypeAlias = NDArray[np.integer[Any]]
    """Indices, ids and counts: int64 unless said."""

    BoolArray: TypeAlias = NDArray[np.bool_]
    """Masks."""
else:  # loading numpy.typing takes a tenth of NumPy's own time
    Array = FloatArray = IntArray = BoolArray = np.ndarray

Shape: TypeAlias = tuple[int, ...]
"""The shape of an array."""
