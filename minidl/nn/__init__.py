"""Layers, containers and losses, with PyTorch's names, arguments and state_dict keys."""

from minidl.nn import functional, init
from minidl.nn.container import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from minidl.nn.embedding import Embedding
from minidl.nn.linear import Bilinear, Identity, Linear
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter

__all__ = [
    "Bilinear",
    "Embedding",
    "Identity",
    "Linear",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "Sequential",
    "functional",
    "init",
]
