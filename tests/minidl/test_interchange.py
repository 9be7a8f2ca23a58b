"""State dicts to and from PyTorch by safetensors: every layer that both have, both ways.

The keys, shapes and values must be the same, and after loading the outputs.
"""

import zlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import load_file, save_file  # noqa: E402

import minidl  # noqa: E402
from minidl import io, nn  # noqa: E402

B, T = 3, 5
IMAGE, SEQUENCE, ROWS = (B, 4, 6, 8), (B, 4, 8), (B, 6)


class Ids(tuple):
    """(largest + 1, *shape) of whole numbers."""


class Signs(tuple):
    """A shape of 1 and -1."""


class Shares(tuple):
    """A shape of numbers between 0 and 1."""


def each(names, *cases):
    return {name: list(cases) for name in names.split()}


# name: [(settings, inputs), ...]; an input is a shape, or one of the classes above
CASES = {
    **each(
        """CELU ELU GELU SELU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish
        RReLU ReLU ReLU6 SiLU Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink Identity Dropout
        Flatten Dropout1d AlphaDropout FeatureAlphaDropout""",
        ({}, [SEQUENCE]),
    ),
    **each("GLU LogSoftmax Softmax Softmin", ({"dim": -1}, [ROWS])),
    **each("Softmax2d Dropout2d", ({}, [IMAGE])),
    **each("Dropout3d", ({}, [(B, 4, 2, 2, 2)])),
    **each("PReLU", ({}, [ROWS]), ({"num_parameters": 6, "init": 0.1}, [ROWS])),
    "Threshold": [({"threshold": 0.1, "value": 2.0}, [ROWS])],
    "Unflatten": [({"dim": 1, "unflattened_size": (2, 3)}, [ROWS])],
    # with weights
    "Linear": [
        ({"in_features": 6, "out_features": 4}, [ROWS]),
        ({"in_features": 6, "out_features": 4, "bias": False}, [(B, T, 6)]),
    ],
    "Bilinear": [({"in1_features": 6, "in2_features": 3, "out_features": 4}, [ROWS, (B, 3)])],
    "Embedding": [
        ({"num_embeddings": 9, "embedding_dim": 4}, [Ids((9, B, T))]),
        ({"num_embeddings": 9, "embedding_dim": 4, "padding_idx": 0}, [Ids((9, B, T))]),
    ],
    "EmbeddingBag": [
        ({"num_embeddings": 9, "embedding_dim": 4}, [Ids((9, B, T))]),
        (
            {"num_embeddings": 9, "embedding_dim": 4, "mode": "max", "padding_idx": 1},
            [Ids((9, B, T))],
        ),
    ],
    **each(
        "Conv1d ConvTranspose1d",
        ({"in_channels": 4, "out_channels": 6, "kernel_size": 3}, [SEQUENCE]),
        (
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "stride": 2, "groups": 2,
             "bias": False},
            [SEQUENCE],
        ),
    ),
    **each(
        "Conv2d ConvTranspose2d",
        ({"in_channels": 4, "out_channels": 6, "kernel_size": (3, 2), "padding": 1}, [IMAGE]),
        (
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "stride": 2, "groups": 2,
             "bias": False},
            [IMAGE],
        ),
    ),
    **each(
        "BatchNorm1d InstanceNorm1d",
        ({"num_features": 4, "affine": True}, [SEQUENCE]),
        ({"num_features": 4, "affine": False, "track_running_stats": True}, [SEQUENCE]),
    ),
    **each(
        "BatchNorm2d InstanceNorm2d",
        ({"num_features": 4, "affine": True}, [IMAGE]),
        ({"num_features": 4, "track_running_stats": False}, [IMAGE]),
    ),
    "GroupNorm": [({"num_groups": 2, "num_channels": 4}, [IMAGE])],
    "LayerNorm": [
        ({"normalized_shape": 6}, [ROWS]),
        ({"normalized_shape": (4, 8), "elementwise_affine": False}, [SEQUENCE]),
    ],
    "RMSNorm": [({"normalized_shape": 6, "eps": 1e-6}, [ROWS])],
    "LocalResponseNorm": [({"size": 3}, [IMAGE])],
    **each(
        "RNN GRU LSTM",
        ({"input_size": 6, "hidden_size": 5}, [(T, B, 6)]),
        (
            {"input_size": 6, "hidden_size": 5, "num_layers": 2, "bidirectional": True,
             "batch_first": True, "bias": False},
            [(B, T, 6)],
        ),
    ),
    **each("RNNCell GRUCell LSTMCell", ({"input_size": 6, "hidden_size": 5}, [ROWS])),
    "MultiheadAttention": [
        ({"embed_dim": 6, "num_heads": 2, "batch_first": True}, [(B, T, 6)] * 3),
        (
            {"embed_dim": 6, "num_heads": 2, "kdim": 4, "vdim": 3, "bias": False},
            [(T, B, 6), (T, B, 4), (T, B, 3)],
        ),
    ],
    "TransformerEncoderLayer": [
        ({"d_model": 6, "nhead": 2, "dim_feedforward": 8, "batch_first": True}, [(B, T, 6)])
    ],
    "TransformerDecoderLayer": [
        ({"d_model": 6, "nhead": 2, "dim_feedforward": 8}, [(T, B, 6), (2, B, 6)])
    ],
    "Transformer": [
        (
            {"d_model": 6, "nhead": 2, "num_encoder_layers": 1, "num_decoder_layers": 2,
             "dim_feedforward": 8, "batch_first": True},
            [(B, T, 6), (B, 2, 6)],
        )
    ],
    # windows, borders, sizes
    **each("AvgPool1d MaxPool1d", ({"kernel_size": 2}, [SEQUENCE])),
    **each("AvgPool2d MaxPool2d", ({"kernel_size": 2}, [IMAGE])),
    "LPPool1d": [({"norm_type": 2, "kernel_size": 2}, [SEQUENCE])],
    "LPPool2d": [({"norm_type": 2, "kernel_size": 2}, [IMAGE])],
    **each("AdaptiveAvgPool1d AdaptiveMaxPool1d", ({"output_size": 3}, [SEQUENCE])),
    **each("AdaptiveAvgPool2d AdaptiveMaxPool2d", ({"output_size": (3, 2)}, [IMAGE])),
    **each("ConstantPad1d ConstantPad2d", ({"padding": 1, "value": 2.0}, [IMAGE])),
    **each("ZeroPad1d ZeroPad2d", ({"padding": 1}, [IMAGE])),
    **each("CircularPad1d ReflectionPad1d ReplicationPad1d", ({"padding": 1}, [SEQUENCE])),
    **each("CircularPad2d ReflectionPad2d ReplicationPad2d", ({"padding": 1}, [IMAGE])),
    "Unfold": [({"kernel_size": 2}, [IMAGE])],
    "Fold": [({"output_size": (4, 4), "kernel_size": 2, "stride": 2}, [(B, 8, 4)])],
    "PixelShuffle": [({"upscale_factor": 2}, [IMAGE])],
    "PixelUnshuffle": [({"downscale_factor": 2}, [IMAGE])],
    "ChannelShuffle": [({"groups": 2}, [IMAGE])],
    "Upsample": [({"scale_factor": 2, "mode": "bilinear"}, [IMAGE])],
    **each("UpsamplingBilinear2d UpsamplingNearest2d", ({"scale_factor": 2}, [IMAGE])),
    **each("CosineSimilarity PairwiseDistance", ({}, [ROWS, ROWS])),
    # losses: their class weights are state too
    **each("L1Loss MSELoss HuberLoss SmoothL1Loss PoissonNLLLoss", ({}, [ROWS, ROWS])),
    "KLDivLoss": [({"reduction": "batchmean"}, [ROWS, Shares(ROWS)])],
    "BCELoss": [({}, [Shares(ROWS), Shares(ROWS)])],
    "BCEWithLogitsLoss": [
        ({}, [ROWS, Shares(ROWS)]),
        ({"weight": Shares((6,)), "pos_weight": Shares((6,))}, [ROWS, Shares(ROWS)]),
    ],
    **each("CrossEntropyLoss MultiMarginLoss", ({}, [ROWS, Ids((6, B))]),
           ({"weight": Shares((6,))}, [ROWS, Ids((6, B))])),
    "LinearCrossEntropyLoss": [
        ({"in_features": 6, "num_classes": 9, "bias": True}, [ROWS, Ids((9, B))]),
        ({"in_features": 6, "num_classes": 9, "weight": Shares((9,))}, [ROWS, Ids((9, B))]),
        ({"in_features": 6, "num_classes": 3, "out_features": (2,)}, [ROWS, Ids((3, B, 2))]),
    ],
    "NLLLoss": [({"weight": Shares((6,))}, [ROWS, Ids((6, B))])],
    "MultiLabelSoftMarginLoss": [({}, [ROWS, Ids((2, *ROWS))])],
    **each("HingeEmbeddingLoss SoftMarginLoss", ({}, [ROWS, Signs(ROWS)])),
    "MarginRankingLoss": [({}, [ROWS, ROWS, Signs(ROWS)])],
    "CosineEmbeddingLoss": [({}, [ROWS, ROWS, Signs((B,))])],
    "TripletMarginLoss": [({}, [ROWS, ROWS, ROWS])],
    "TripletMarginWithDistanceLoss": [({}, [ROWS, ROWS, ROWS])],
    "MultiLabelMarginLoss": [({}, [ROWS, Ids((6, *ROWS))])],
    "GaussianNLLLoss": [({}, [ROWS, ROWS, Shares(ROWS)])],
    "AdaptiveLogSoftmaxWithLoss": [
        (
            {"in_features": 6, "n_classes": 20, "cutoffs": [5, 12], "div_value": 2.0},
            [ROWS, Ids((20, B))],
        )
    ],
}  # fmt: skip
APART = {  # why there is no case: bases and containers, and what is tested in another way
    "Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential",
    "RNNBase", "RNNCellBase", "TransformerEncoder", "TransformerDecoder", "MaxUnpool1d",
    "MaxUnpool2d", "CTCLoss",
}  # fmt: skip


def drawn(spec, rng):
    if isinstance(spec, Ids):
        return rng.integers(0, spec[0], spec[1:])
    if isinstance(spec, Signs):
        return rng.choice([-1.0, 1.0], spec).astype("f")
    if isinstance(spec, Shares):
        return rng.uniform(0.1, 0.9, spec).astype("f")
    return rng.standard_normal(spec).astype("f")


def both_in():
    """Names of the layers that minidl and PyTorch have."""
    for name in nn.__all__:
        thing = getattr(nn, name)
        if isinstance(thing, type) and issubclass(thing, nn.Module) and hasattr(torch.nn, name):
            yield name


def test_every_layer_of_both_has_a_case():
    missing = set(both_in()) - set(CASES) - APART
    assert not missing, f"{sorted(missing)}: add them to CASES of this test"


def made(name, settings, rng):
    """A layer of each library, with weights of their own, in eval mode."""
    arrays = {k: drawn(v, rng) if isinstance(v, Shares) else v for k, v in settings.items()}
    wide = (np.ndarray,)
    ours = {k: minidl.tensor(v) if isinstance(v, wide) else v for k, v in arrays.items()}
    theirs = {k: torch.tensor(v) if isinstance(v, wide) else v for k, v in arrays.items()}
    mine, peer = getattr(nn, name)(**ours), getattr(torch.nn, name)(**theirs)
    for key, value in mine.state_dict().items():  # nothing may stay at 0 or 1
        if value.dtype.kind == "f":
            low = 0.2 if key.endswith(("var", "weight")) and value.ndim == 1 else -0.5
            value.array[...] = rng.uniform(low, 0.8, value.shape)
        else:
            value.array[...] = 7
    return mine.eval(), peer.eval()


def outputs(value):
    """The arrays of a nest of outputs; None is left out."""
    if value is None:
        return []
    if isinstance(value, tuple | list):
        return [array for part in value for array in outputs(part)]
    return [value.detach().numpy()]


@pytest.mark.parametrize(
    ("name", "case"),
    [(name, i) for name in sorted(CASES) if hasattr(nn, name) for i in range(len(CASES[name]))],
)
def test_state_and_outputs_are_the_same_both_ways(name, case, tmp_path):
    settings, specs = CASES[name][case]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    mine, peer = made(name, settings, rng)
    inputs = [drawn(spec, rng) for spec in specs]
    first, second = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"

    io.save_safetensors(mine.state_dict(), first)
    state = load_file(first)
    assert list(peer.state_dict()) == list(mine.state_dict())
    peer.load_state_dict(state)  # strict: keys and shapes
    for key, value in peer.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), mine.state_dict()[key].numpy(force=True))
    agree(mine, peer, inputs)

    for value in peer.state_dict().values():  # other values, the other way
        value.copy_(value * 0.5 if value.is_floating_point() else value + 1)
    save_file({k: v.contiguous() for k, v in peer.state_dict().items()}, second)
    mine.load_state_dict(io.load_safetensors(second))
    for key, value in mine.state_dict().items():
        np.testing.assert_array_equal(value.numpy(force=True), peer.state_dict()[key].numpy())
    agree(mine, peer, inputs)


def agree(mine, peer, inputs):
    ours = outputs(mine(*[minidl.tensor(x) for x in inputs]))
    theirs = outputs(peer(*[torch.tensor(x) for x in inputs]))
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("kind", ["Encoder", "Decoder"])
def test_stacks_and_containers(kind, tmp_path):
    def model(lib):
        layer = getattr(lib, f"Transformer{kind}Layer")(6, 2, 8)
        stack = getattr(lib, f"Transformer{kind}")(layer, 2, lib.LayerNorm(6))
        head = lib.Sequential(lib.Linear(6, 4), lib.Tanh(), lib.Linear(4, 2))
        return lib.ModuleDict({"body": stack, "heads": lib.ModuleList([head])})

    mine, peer = model(nn).eval(), model(torch.nn).eval()
    path = tmp_path / "model.safetensors"
    save_file(peer.state_dict(), path)
    mine.load_state_dict(io.load_safetensors(path))
    assert list(mine.state_dict()) == list(peer.state_dict())
    x, memory = np.random.default_rng(0).standard_normal((2, T, B, 6)).astype("f")
    args = (x, memory) if kind == "Decoder" else (x,)

    def run(model, tensor):
        return model["heads"][0](model["body"](*[tensor(a) for a in args]))

    np.testing.assert_allclose(
        run(mine, minidl.tensor).detach().numpy(),
        run(peer, torch.tensor).detach().numpy(),
        rtol=1e-6,
        atol=1e-6,
    )
