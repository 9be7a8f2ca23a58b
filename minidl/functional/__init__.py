"""Functions on tensors: a signature, a line of documentation, and the ops that do the work.

Each family's `__all__` says what is public. `__all__` here holds PyTorch's top-level functions, of
which many are methods of Tensor as well; the families in `NN_FAMILIES` are `nn.functional`'s, and
are loaded when one of their names is first asked for.
"""

import importlib
import sys
from typing import Any

from minidl.functional.activation import (
    celu,
    hardshrink,
    prelu,
    relu,
    relu_,
    rrelu,
    selu,
    threshold,
)
from minidl.functional.arithmetic import *  # noqa: F403
from minidl.functional.attributes import *  # noqa: F403
from minidl.functional.choice import *  # noqa: F403
from minidl.functional.comparison import *  # noqa: F403
from minidl.functional.contraction import *  # noqa: F403
from minidl.functional.creation import *  # noqa: F403
from minidl.functional.cumulative import *  # noqa: F403
from minidl.functional.decompositions import *  # noqa: F403
from minidl.functional.diagonals import *  # noqa: F403
from minidl.functional.exchange import *  # noqa: F403
from minidl.functional.index import *  # noqa: F403
from minidl.functional.joining import *  # noqa: F403
from minidl.functional.matrix import *  # noqa: F403
from minidl.functional.randomness import *  # noqa: F403
from minidl.functional.recurrent import *  # noqa: F403
from minidl.functional.reduce import *  # noqa: F403
from minidl.functional.scatter import *  # noqa: F403
from minidl.functional.shape import *  # noqa: F403
from minidl.functional.softmax import *  # noqa: F403
from minidl.functional.sorting import *  # noqa: F403
from minidl.functional.sparse import *  # noqa: F403
from minidl.functional.splitting import *  # noqa: F403
from minidl.functional.statistics import *  # noqa: F403
from minidl.functional.transcendental import *  # noqa: F403

FAMILIES = (
    "arithmetic", "attributes", "choice", "comparison", "contraction", "creation", "cumulative",
    "decompositions", "diagonals", "exchange", "index", "joining", "matrix", "randomness",
    "recurrent", "reduce", "scatter", "shape", "softmax", "sorting", "sparse", "splitting",
    "statistics", "transcendental",
)  # fmt: skip
NN_FAMILIES = (
    "activation", "attention", "bags", "convolution", "dropouts", "layers", "losses_classification",
    "losses_contrastive", "losses_ctc", "losses_gan", "losses_labels", "losses_ranking",
    "losses_regression", "normalization", "padding", "pooling", "positions", "resizing",
)  # fmt: skip

__all__ = [name for f in FAMILIES for name in sys.modules[f"{__name__}.{f}"].__all__]
__all__ += ["celu", "hardshrink", "prelu", "relu", "relu_", "rrelu", "selu", "threshold"]

from minidl.functional import inplace, inplace_views  # noqa: E402, F401  # made of the methods known by now


def __getattr__(name: str) -> Any:
    if not name.startswith("_"):
        for family in NN_FAMILIES:
            module = importlib.import_module(f"{__name__}.{family}")
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
