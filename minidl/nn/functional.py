"""PyTorch's `nn.functional`: the functions that layers are made of.

They are written in `minidl.functional`, where tensors' own functions stand as well.
"""

import importlib

from minidl.functional import NN_FAMILIES
from minidl.functional.softmax import *  # noqa: F403

for _family in NN_FAMILIES:
    _module = importlib.import_module(f"minidl.functional.{_family}")
    globals().update({_name: getattr(_module, _name) for _name in _module.__all__})
