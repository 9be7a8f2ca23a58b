"""PyTorch's places for things that live elsewhere: `minidl.utils.data` is `minidl.data`."""

from minidl.utils import data

__all__ = ["data"]
