"""Examples of layers, losses and optimizers: built and fed by the names of their arguments."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
from minidl import nn
from minidl.describe.watch import Call, recorded

# What a constructor's argument of that name gets, where it has no default.
ARGUMENTS: dict[str, Any] = {
    "bins": [0.5], "cutoffs": [4, 8], "d_model": 16, "dim_feedforward": 32, "downscale_factor": 2,
    "embed_dim": 16, "embedding_dim": 16, "hidden_size": 16, "in1_features": 16,
    "in2_features": 16, "in_channels": 8, "in_features": 16, "input_size": 16, "kernel_size": 3,
    "n_classes": 10, "nhead": 2, "normalized_shape": 16, "num_channels": 8, "num_classes": 40,
    "num_embeddings": 50, "num_features": 8, "num_groups": 2, "num_heads": 2,
    "num_layers": 2, "out_channels": 8, "out_features": 16, "output_size": 4, "padding": 1,
    "size": 5, "threshold": 0.5,
    "upscale_factor": 2, "value": 0.0, "dim": 1, "scale_factor": 2.0,
    "max_length": 50,
}  # fmt: skip


def _t(*shape: int) -> minidl.Tensor:
    array = np.random.default_rng(len(shape)).uniform(0.1, 0.9, shape)
    return minidl.Tensor(array.astype(np.float32), requires_grad=True)


def _ids(high: int, *shape: int) -> minidl.Tensor:
    return minidl.Tensor(np.random.default_rng(0).integers(0, high, shape))


def _ctc() -> tuple[Any, ...]:
    logits = nn.functional.log_softmax(_t(12, 4, 6), -1)
    return logits, _ids(5, 4, 3) + 1, _ids(1, 4) + 12, _ids(1, 4) + 3


def _sequence() -> tuple[Any, ...]:
    return (_t(6, 4, 16),)


# Inputs to try, one after the other, until a layer takes them.
INPUTS: tuple[Callable[[], tuple[Any, ...]], ...] = (
    lambda: (_t(4, 16),),
    lambda: (_t(4, 8, 16),),
    lambda: (_t(4, 8, 12, 12),),
    lambda: (_t(4, 32, 9),),
    lambda: nn.functional.max_pool1d(_t(4, 8, 12), 2, return_indices=True),
    lambda: nn.functional.max_pool2d(_t(4, 8, 12, 12), 2, return_indices=True),
    lambda: (_t(2, 8, 6, 6, 6),),
    lambda: (_ids(50, 4, 6),),
    lambda: (_t(4, 16), _t(4, 16)),
    lambda: (_t(4, 6, 16), _t(4, 6, 16)),
    lambda: (_t(4, 16), _ids(10, 4)),
    lambda: (_t(4, 16), _t(4, 16), _t(4, 16)),
    lambda: (_t(6, 4, 16), _t(6, 4, 16), _t(6, 4, 16)),
    lambda: (_t(4, 16), _t(4, 16), _ids(1, 4) * 2 + 1),
    lambda: (_t(16), _t(16), _ids(1, 16) * 2 + 1),
    lambda: (_t(4, 16), _ids(2, 4, 16) - 1),
    _ctc,
    lambda: (6,),  # a bias by the number of positions
)


# Arguments of single layers, where the name alone does not tell, or a default has no meaning.
OF_LAYER: dict[str, dict[str, Any]] = {
    "ChannelShuffle": {"groups": 2},
    "Fold": {"output_size": (4, 4), "kernel_size": 2},
    "LPPool1d": {"norm_type": 2, "kernel_size": 3},
    "LPPool2d": {"norm_type": 2, "kernel_size": 3},
    "LogSoftmax": {"dim": -1},
    "MaxUnpool1d": {"kernel_size": 2},
    "MaxUnpool2d": {"kernel_size": 2},
    "RotaryPositions": {"dim": 16},
    "Softmax": {"dim": -1},
    "Softmin": {"dim": -1},
    "Transformer": {
        "d_model": 16, "nhead": 2, "num_encoder_layers": 1, "num_decoder_layers": 1,
        "dim_feedforward": 32,
    },
    "Unflatten": {"dim": 1, "unflattened_size": (2, 8)},
    "Upsample": {"scale_factor": 2},
    "UpsamplingBilinear2d": {"scale_factor": 2},
    "UpsamplingNearest2d": {"scale_factor": 2},
}  # fmt: skip


def build(layer: type) -> Any:
    """An example of a layer; a TypeError names the argument that has no example."""
    given = dict(OF_LAYER.get(layer.__name__, {}))
    for name, parameter in inspect.signature(layer).parameters.items():
        if name in given:
            continue
        if parameter.default is parameter.empty and parameter.kind not in (2, 4):
            given[name] = _argument(layer, name)
    return layer(**given)


def _argument(layer: type, name: str) -> Any:
    if name in ("encoder_layer", "decoder_layer"):
        kind = nn.TransformerEncoderLayer if name[0] == "e" else nn.TransformerDecoderLayer
        return kind(16, 2, 32)
    if name == "mode":
        return "LSTM"
    if name not in ARGUMENTS:
        raise TypeError(f"{layer.__name__}: no example of the argument {name!r}")
    return ARGUMENTS[name]


def run_example(module: Any) -> tuple[tuple[Any, ...], Any, list[Call]] | None:
    """(inputs, output, ops that ran) of the first inputs that the module takes, or None."""
    sequence = hasattr(module, "hidden_size") and not type(module).__name__.endswith("Cell")
    for inputs in (_sequence, *INPUTS) if sequence else INPUTS:
        args = inputs()
        with recorded() as calls, np.errstate(all="ignore"):
            try:
                return args, module(*args), calls
            except Exception:  # these inputs do not fit: try the next
                continue
    return None


def example(entry_thing: type) -> tuple[Any, Any, Any, list[Call]] | str:
    """(module, inputs, output, ops) of a layer run once, or why it was not."""
    if not issubclass(entry_thing, nn.Module):
        return "not a module"
    if "forward" not in dir(entry_thing) or entry_thing.forward is nn.Module.forward:
        return "has no forward of its own"
    try:
        module = build(entry_thing)
    except Exception as error:  # an example is a courtesy: the page stands without it
        return str(error)
    ran = run_example(module)
    return (module, *ran) if ran else "no example input fits it"


def optimizer_step(optimizer: type) -> Callable[[], Any] | None:
    """A function that does one step over 12 matrices of 256 x 256; None for a base class."""
    if optimizer.__name__ == "SparseAdam":
        table = nn.Embedding(10000, 64, sparse=True)
        params = list(table.parameters())

        def loss() -> Any:
            return table(_ids(10000, 64, 8)).sum()
    else:
        params = [nn.Parameter(_t(256, 256).detach()) for _ in range(12)]

        def loss() -> Any:
            total = params[0].sum()
            for p in params[1:]:
                total = total + p.sum()
            return total

    try:
        made = optimizer(params)
        loss().backward()
        made.step(loss)
    except Exception:  # a base class, or settings that have no default
        return None
    return lambda: made.step(loss)
