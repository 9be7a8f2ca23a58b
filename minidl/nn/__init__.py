"""Layers, containers and losses, with PyTorch's names, arguments and state_dict keys."""

from minidl.nn import functional, init, utils
from minidl.nn.activation import *  # noqa: F403
from minidl.nn.activation import __all__ as _activations
from minidl.nn.adaptive import AdaptiveLogSoftmaxWithLoss
from minidl.nn.attention import GroupedQueryAttention, KVCache, MultiheadAttention
from minidl.nn.batchnorm import BatchNorm1d, BatchNorm2d, InstanceNorm1d, InstanceNorm2d
from minidl.nn.container import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from minidl.nn.conv import *  # noqa: F403
from minidl.nn.conv import __all__ as _conv
from minidl.nn.distance import CosineSimilarity, PairwiseDistance
from minidl.nn.dropout import *  # noqa: F403
from minidl.nn.dropout import __all__ as _dropouts
from minidl.nn.embedding import Embedding, EmbeddingBag
from minidl.nn.linear import Bilinear, Identity, Linear
from minidl.nn.loss import *  # noqa: F403
from minidl.nn.loss import __all__ as _losses
from minidl.nn.loss_contrastive import *  # noqa: F403
from minidl.nn.loss_contrastive import __all__ as _contrastive_losses
from minidl.nn.loss_gan import *  # noqa: F403
from minidl.nn.loss_gan import __all__ as _gan_losses
from minidl.nn.loss_labels import *  # noqa: F403
from minidl.nn.loss_labels import __all__ as _label_losses
from minidl.nn.module import Module
from minidl.nn.normalization import GroupNorm, LayerNorm, LocalResponseNorm, RMSNorm
from minidl.nn.padding import *  # noqa: F403
from minidl.nn.padding import __all__ as _padding
from minidl.nn.parameter import Parameter
from minidl.nn.pooling import *  # noqa: F403
from minidl.nn.pooling import __all__ as _pooling
from minidl.nn.positions import *  # noqa: F403
from minidl.nn.positions import __all__ as _positions
from minidl.nn.recurrent import *  # noqa: F403
from minidl.nn.recurrent import __all__ as _recurrent
from minidl.nn.recurrent_cells import *  # noqa: F403
from minidl.nn.recurrent_cells import __all__ as _cells
from minidl.nn.shape import Flatten, Unflatten
from minidl.nn.transformer import *  # noqa: F403
from minidl.nn.transformer import __all__ as _transformers
from minidl.nn.upsampling import *  # noqa: F403
from minidl.nn.upsampling import __all__ as _upsampling

__all__ = [
    *_activations,
    *_dropouts,
    *_cells,
    *_contrastive_losses,
    *_gan_losses,
    *_label_losses,
    *_conv,
    *_losses,
    *_padding,
    *_pooling,
    *_positions,
    *_recurrent,
    *_transformers,
    *_upsampling,
    "AdaptiveLogSoftmaxWithLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Bilinear",
    "CosineSimilarity",
    "Embedding",
    "EmbeddingBag",
    "Flatten",
    "GroupNorm",
    "GroupedQueryAttention",
    "Identity",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "KVCache",
    "LayerNorm",
    "Linear",
    "LocalResponseNorm",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiheadAttention",
    "PairwiseDistance",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "RMSNorm",
    "Sequential",
    "Unflatten",
    "functional",
    "init",
    "utils",
]
