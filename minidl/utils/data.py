"""The names of `minidl.data`, where torch.utils.data has them."""

from minidl.data import *  # noqa: F403
from minidl.data import __all__ as __all__
