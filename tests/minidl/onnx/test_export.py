"""Exported models against onnxruntime, on other sizes than the examples'; what is refused."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

import minidl  # noqa: E402
import minidl.nn.functional as F  # noqa: E402
from minidl import nn  # noqa: E402
from minidl.onnx.trace import flat  # noqa: E402


class Recurrent(nn.Module):
    """Embedding, a stack of two directions, a classifier of the last output."""

    def __init__(self, kind, **settings):
        super().__init__()
        self.table = nn.Embedding(20, 6)
        self.layers = kind(6, 8, 2, batch_first=True, bidirectional=True, **settings)
        self.out = nn.Linear(16, 3)

    def forward(self, ids):
        y, state = self.layers(self.table(ids))
        state = state[0] if isinstance(state, tuple) else state
        return self.out(y[:, -1]), state


class Pooled(nn.Module):
    """The mean of the embeddings of what is not padding."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(20, 6, padding_idx=0)
        self.out = nn.Linear(6, 2)

    def forward(self, ids):
        keep = (ids != 0).unsqueeze(-1).float()
        total = (self.table(ids) * keep).sum(1)
        return self.out(total / keep.sum(1).clamp(min=1)).log_softmax(-1)


class Causal(nn.Module):
    """Attention written out, with a mask made from the length."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out, self.norm = nn.Linear(8, 24), nn.Linear(8, 8), nn.LayerNorm(8)
        self.positions = nn.Embedding(64, 8)

    def forward(self, x):
        batch, steps, width = x.shape
        x = x + self.positions(minidl.arange(steps))
        q, k, v = self.qkv(x).reshape(batch, steps, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        hidden = minidl.triu(minidl.ones(steps, steps), 1).bool()
        share = ((q @ k.transpose(-1, -2)) / 2).masked_fill(hidden, float("-inf")).softmax(-1)
        return self.norm(x + self.out((share @ v).transpose(1, 2).reshape(batch, steps, width)))


def cnn():
    features = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, groups=2, dilation=2, padding=2),
        nn.GroupNorm(2, 8),
        nn.LeakyReLU(),
        nn.AvgPool2d(3, 2, 1),
        nn.ConvTranspose2d(8, 4, 3, 2, 1, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    features(minidl.randn(8, 3, 16, 16))  # running statistics that are not 0 and 1
    return features


def mlp():
    return nn.Sequential(
        nn.Linear(5, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 8), nn.GELU(), nn.Dropout(),
        nn.Linear(8, 3), nn.Softmax(-1),
    )  # fmt: skip


TEXT = {0: "batch", 1: "time"}
MODELS = {  # model, input's shape but for the dynamic axes, dynamic axes
    "mlp": (mlp, (None, 5), {0: "batch"}),
    "cnn": (cnn, (None, 3, None, 16), {0: "batch", 2: "height"}),
    "lstm": (lambda: Recurrent(nn.LSTM), (None, None), TEXT),
    "gru": (lambda: Recurrent(nn.GRU), (None, None), TEXT),
    "rnn": (lambda: Recurrent(nn.RNN, nonlinearity="relu", bias=False), (None, None), TEXT),
    "pooled": (Pooled, (None, None), TEXT),
    "causal": (Causal, (None, None, 8), TEXT),
    "encoder": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (None, None, 8), TEXT
    ),
}  # fmt: skip


def drawn(rng, shape, ids):
    return rng.integers(0, 20, shape) if ids else rng.standard_normal(shape).astype("f")


@pytest.mark.parametrize("name", MODELS)
def test_models_equal_onnxruntime_for_other_batches_and_lengths(name, rng, tmp_path):
    minidl.manual_seed(0)
    make, shape, axes = MODELS[name]
    model = make().eval()
    ids = all(n is None for n in shape)
    first = [n or m for n, m in zip(shape, (2, 5, 17, 16))]
    path = tmp_path / "model.onnx"
    minidl.onnx.export(model, minidl.tensor(drawn(rng, first, ids)), path, ["x"], None, {"x": axes})
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    again = minidl.onnx.load(path)
    for batch in (1, 6):
        for length in (3, 11):
            sizes = [n or (batch, length, 4 + length, 0)[i] for i, n in enumerate(shape)]
            x = drawn(rng, sizes, ids)
            wanted = flat(model(minidl.tensor(x)))
            for mine, other, back in zip(wanted, session.run(None, {"x": x}), flat(again(x))):
                np.testing.assert_allclose(mine.detach().numpy(), other, rtol=1e-5, atol=1e-5)
                np.testing.assert_allclose(
                    mine.detach().numpy(), back.detach().numpy(), rtol=1e-5, atol=1e-5
                )


FUNCTIONS = {
    "argmax": lambda x: x.argmax(-1),
    "celu": lambda x: F.celu(x, 0.5),
    "chunk": lambda x: x.chunk(2, 1)[1],
    "cumsum": lambda x: x.cumsum(-1).flip(0),
    "div_floor": lambda x: (x * 7).floor_divide(2) + (x * 9).long().div(2, rounding_mode="floor"),
    "einsum": lambda x: minidl.einsum("bi,bj->bij", x, x),
    "erfc": lambda x: minidl.erfc(x) + minidl.exp2(x) + minidl.expm1(x),
    "expand": lambda x: x.unsqueeze(0).expand(3, -1, -1),
    "fmod": lambda x: x.fmod(0.3) + x % 0.3,
    "gather": lambda x: x.gather(1, x.argmax(1, keepdim=True)),
    "gelu_tanh": lambda x: F.gelu(x, "tanh"),
    "glu": lambda x: F.glu(x, 1),
    "hardsigmoid": lambda x: F.hardsigmoid(x) + F.hardswish(x) + F.hardshrink(x),
    "index_select": lambda x: x.index_select(1, minidl.tensor([2, 0])),
    "in_place": lambda x: x.clone().mul_(2.0).add_(x),
    "logaddexp": lambda x: minidl.logaddexp(x, x * 2) + minidl.logaddexp2(x, x * 2),
    "logsumexp": lambda x: x.logsumexp(-1),
    "max": lambda x: x.max(1),
    "mish": lambda x: F.mish(x),
    "normalize": lambda x: F.normalize(x),
    "pow": lambda x: (x.abs() + 1) ** 1.5 + x**2,
    "prelu": lambda x: F.prelu(x, minidl.tensor([0.2])),
    "prod": lambda x: x.prod(1),
    "repeat": lambda x: x.repeat(2, 3),
    "rms_norm": lambda x: F.rms_norm(x, (4,)),
    "roll": lambda x: x.roll(1, 1),
    "rounded": lambda x: (x * 3).round() + (x * 3).trunc() + (x * 3).ceil() + x.sign(),
    "size": lambda x: x / x.shape[0] + minidl.arange(x.shape[0]).unsqueeze(1),
    "slice": lambda x: x[:-1, ::2, None].sum(1),
    "softplus": lambda x: F.softplus(x, beta=2.0) + F.logsigmoid(x),
    "sort": lambda x: x.sort(-1, descending=True),
    "split": lambda x: minidl.stack(x.split([1, 3], 1)[1].unbind(1)),
    "sub_scalar": lambda x: 1 - x / 2,
    "threshold": lambda x: F.threshold(x, 0.1, -2.0),
    "topk": lambda x: x.topk(2, -1),
    "tril": lambda x: x.tril(),
    "var": lambda x: x.var(1) + x.std(-1),
    "where": lambda x: minidl.where((x > 0) & ~(x >= 1) | (x != x), x, -x),
}


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_equal_onnxruntime(name, opset, rng):
    function, dynamic = FUNCTIONS[name], {"input": {0: "batch"}}
    x = rng.standard_normal((4, 4)).astype("f")
    proto = minidl.onnx.export(function, x, dynamic_axes=dynamic, opset_version=opset)
    session = runtime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for batch in (2, 7):
        x = rng.standard_normal((batch, 4)).astype("f")
        for mine, other in zip(flat(function(minidl.tensor(x))), session.run(None, {"input": x})):
            assert mine.dtype == other.dtype
            np.testing.assert_allclose(mine.numpy(), other, rtol=1e-5, atol=1e-5)


def test_every_layer_but_the_losses_is_exported(tmp_path):
    pytest.importorskip("torch")
    from tests.minidl import test_interchange as layers

    wrong = {}
    for name, cases in layers.CASES.items():
        for settings, specs in cases if hasattr(nn, name) and not name.endswith("Loss") else ():
            rng = np.random.default_rng(1)
            model, _ = layers.made(name, settings, rng)
            inputs = [layers.drawn(spec, rng) for spec in specs]
            names = [f"x{i}" for i in range(len(inputs))]
            first = name in ("RNN", "GRU", "LSTM", "MultiheadAttention", "TransformerDecoderLayer")
            batch = 1 if first and not settings.get("batch_first") else 0
            axes = {x: {batch: "batch"} for x in names}
            try:
                proto = minidl.onnx.export(model, tuple(inputs), None, names, None, axes)
                session = runtime.InferenceSession(
                    proto.SerializeToString(), providers=["CPUExecutionProvider"]
                )
                got = session.run(None, dict(zip(names, inputs)))
                for a, b in zip(flat(model(*[minidl.tensor(x) for x in inputs])), got, strict=True):
                    np.testing.assert_allclose(a.detach().numpy(), b, rtol=1e-5, atol=1e-5)
            except Exception as error:
                wrong[name] = f"{type(error).__name__}: {error}"
    assert not wrong


def test_weights_keep_their_names_and_axes_theirs():
    model = mlp().eval()
    proto = minidl.onnx.export(model, minidl.randn(2, 5), None, ["x"], ["y"], {"x": [0]})
    assert set(model.state_dict()) <= {w.name for w in proto.graph.initializer}
    (x,), (y,) = proto.graph.input, proto.graph.output
    assert (x.name, y.name) == ("x", "y")
    assert [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim] == ["x_0", 5]
    assert [d.dim_param or d.dim_value for d in y.type.tensor_type.shape.dim] == ["x_0", 3]


# What cannot be exported is said


def looping(x):
    out = x[0]
    for t in range(1, x.shape[0]):
        out = (out + x[t]).tanh()
    return out


def written(x):
    out = x.clone()
    out[:, 0] = 0
    return out * 2


REFUSED = {
    "numpy": (lambda x: minidl.tensor(np.sin(x.numpy())), "not made from the inputs"),
    "numpy inside": (lambda x: x + minidl.tensor(np.sin(x.numpy())), "Add takes a tensor that"),
    "loop": (looping, "a loop over a dynamic axis"),
    "branch": (lambda x: x.relu() if float(x[0, 0]) > 0.1 else x.exp(), "Relu|other inputs|ran"),
    "write": (written, "the graph and the model differ"),
    "no operator": (lambda x: x.cumprod(1), "CumProd cannot be written: ONNX has it from"),
    "median": (lambda x: x.median(), "Median cannot be written"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_exported_is_refused(name, rng):
    function, message = REFUSED[name]
    x = np.abs(rng.standard_normal((3, 4))).astype("f") * [[1], [0.1], [0.1]]
    with pytest.raises(minidl.onnx.ExportError, match=message):
        minidl.onnx.export(function, x.astype("f"), dynamic_axes={"input": {0: "batch"}})


def test_bad_arguments_are_refused(tmp_path):
    model, x = nn.Linear(4, 2), minidl.randn(3, 4)
    with pytest.raises(ValueError, match=r"call model\.eval"):
        minidl.onnx.export(model, x)
    model.eval()
    with pytest.raises(ValueError, match="opset_version must be 17 to"):
        minidl.onnx.export(model, x, opset_version=9)
    with pytest.raises(ValueError, match="2 input_names for 1 inputs"):
        minidl.onnx.export(model, x, input_names=["a", "b"])
    with pytest.raises(ValueError, match="dynamic_axes names 'z'"):
        minidl.onnx.export(model, x, dynamic_axes={"z": [0]})
    with pytest.raises(ValueError, match="has no axis 5"):
        minidl.onnx.export(model, x, dynamic_axes={"input": [5]})
    path = tmp_path / "old.onnx"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="Dropout"):
        minidl.onnx.export(lambda x: F.dropout(x), x, path)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding", [None, -1])
def test_bags_with_and_without_padding(mode, padding, rng):
    table = minidl.tensor(rng.standard_normal((5, 3)).astype("f"))

    def pooled(ids):
        return F.embedding_bag(ids, table, mode=mode, padding_idx=padding)

    ids = rng.integers(0, 5, (4, 6))
    ids[1] = 4  # a bag of padding alone
    axes = {"input": {0: "batch", 1: "size"}}
    proto = minidl.onnx.export(pooled, ids, dynamic_axes=axes)
    session = runtime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for x in (ids, rng.integers(0, 5, (2, 3))):
        (other,) = session.run(None, {"input": x})
        np.testing.assert_allclose(pooled(minidl.tensor(x)).numpy(), other, rtol=1e-5, atol=1e-6)


class Biased(nn.Module):
    """Attention whose logits get a bias made from the length."""

    def __init__(self, bias):
        super().__init__()
        self.bias = bias

    def forward(self, x):
        q = x.reshape(*x.shape[:2], 4, 2).transpose(1, 2)
        return F.scaled_dot_product_attention(q, q, q, attn_mask=self.bias(x.shape[1]))


class Padded(nn.Module):
    """An encoder layer that does not look at padding."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(6, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, ids):
        return self.layer(self.table(ids), src_key_padding_mask=(ids == 0))


class Turned(nn.Module):
    """Grouped queries with rotary positions, looking back only."""

    def __init__(self):
        super().__init__()
        rotary = nn.RotaryPositions(2, interleaved=True)
        self.attention = nn.GroupedQueryAttention(8, 4, 2, rotary=rotary)

    def forward(self, x):
        return self.attention(x, is_causal=True)


LENGTHS = {
    "alibi": lambda: Biased(nn.ALiBi(4)),
    "buckets": lambda: Biased(nn.RelativePositionBias(4)),
    "learned": lambda: nn.LearnedPositions(64, 8),
    "padded": Padded,
    "rotary": lambda: nn.RotaryPositions(6),
    "sinusoidal": lambda: nn.SinusoidalPositions(8),
    "turned": Turned,
}


@pytest.mark.parametrize("name", LENGTHS)
def test_masks_and_positions_for_any_length(name, rng):
    model = LENGTHS[name]().eval()

    def example(batch, steps):
        if name != "padded":
            return drawn(rng, (batch, steps, 8), False)
        ids = rng.integers(1, 6, (batch, steps))
        ids[:, -1] = 0
        return ids

    first = example(2, 5)
    model(minidl.tensor(example(1, 40)))  # a table that is longer already must not matter
    proto = minidl.onnx.export(model, first, dynamic_axes={"input": TEXT})
    session = runtime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for x in (example(1, 3), example(3, 50)):
        (other,) = session.run(None, {"input": x})
        mine = model(minidl.tensor(x)).detach().numpy()
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)
