"""Layers, containers and losses, with PyTorch's names, arguments and state_dict keys."""

from minidl.nn import functional
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter

__all__ = ["Module", "Parameter", "functional"]
