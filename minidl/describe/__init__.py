"""Pages to read: what an op, layer, loss, optimizer or kernel is, where it stands, what it costs.

    python -m minidl describe conv2d
    python -m minidl describe nn.LSTM
    python -m minidl describe               all names, by family

Everything on a page comes from the code itself: the docstring of the op, the kernels that its
code names, the ops that ran when a layer was run, and the time they took on this machine.
"""

from minidl.describe.names import Entry, entries, find, nearest
from minidl.describe.pages import describe, listing

__all__ = ["Entry", "describe", "entries", "find", "listing", "nearest"]
