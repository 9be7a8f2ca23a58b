"""PyTorch's `linalg`: norms and decompositions, written in `minidl.functional.linalg`."""

from minidl.functional.linalg import *  # noqa: F403
from minidl.functional.linalg import __all__ as __all__
