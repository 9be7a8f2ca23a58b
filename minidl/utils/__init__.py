"""PyTorch's places: `utils.data` is `minidl.data`; `utils.checkpoint` trades memory for time."""

from minidl.utils import checkpoint, data

__all__ = ["checkpoint", "data"]
