"""ONNX graphs run with minidl's ops: the standard's own cases, gradients, errors."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import minidl  # noqa: E402
from benchmarks.quality import onnx_nodes  # noqa: E402
from minidl import nn  # noqa: E402

helper, FLOAT, INT64 = onnx.helper, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def model_of(nodes, inputs, outputs, weights=(), opset=17):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(*o) for o in outputs],
        [onnx.numpy_helper.from_array(a, name) for name, a in weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


# The standard's own cases: 487 for the promised operators, with five in bfloat16


@pytest.fixture(scope="module")  # seconds: onnx makes all of its cases at once
def outcomes():
    return onnx_nodes.run(onnx_nodes.PROMISED)


def test_at_least_97_percent_of_the_node_cases_pass(outcomes):
    failing = [o for o in outcomes if o.why]
    assert len(outcomes) > 400
    assert len(failing) <= 0.03 * len(outcomes), failing


def test_every_promised_operator_has_cases_and_only_bfloat16_fails(outcomes):
    assert {o.operator for o in outcomes} == set(onnx_nodes.PROMISED)
    unexpected = [o for o in outcomes if o.why and "BFLOAT16" not in o.why]
    # a later onnx package may bring cases that this one does not know
    newer = tuple(int(n) for n in onnx.__version__.split(".")[:2]) > (1, 23)
    assert not unexpected or newer, unexpected


# Modules


def affine(weight, bias):
    return model_of(
        [
            helper.make_node("MatMul", ["x", "fc.weight"], ["h"]),
            helper.make_node("Add", ["h", "fc.bias"], ["y"]),
        ],
        [("x", FLOAT, ["batch", 3])],
        [("y", FLOAT, ["batch", 2])],
        [("fc.weight", weight), ("fc.bias", bias)],
    )


def test_weights_are_parameters_under_their_names_and_learn(rng):
    weight, bias = rng.standard_normal((3, 2)).astype("f"), np.zeros(2, "f")
    model = minidl.onnx.load(affine(weight, bias))
    assert isinstance(model, nn.Module)
    assert list(model.state_dict()) == ["fc.weight", "fc.bias"]
    x = rng.standard_normal((5, 3)).astype("f")
    y = model(minidl.tensor(x))
    np.testing.assert_allclose(y.detach().numpy(), x @ weight, rtol=1e-6)
    y.sum().backward()
    np.testing.assert_allclose(model.fc.weight.grad.numpy(), np.outer(x.sum(0), [1, 1]), rtol=1e-5)
    np.testing.assert_allclose(model.fc.bias.grad.numpy(), [5, 5])


def test_a_file_is_read(tmp_path, rng):
    path = tmp_path / "affine.onnx"
    onnx.save(affine(rng.standard_normal((3, 2)).astype("f"), np.ones(2, "f")), path)
    x = rng.standard_normal((1, 3)).astype("f")
    assert minidl.onnx.load(path)(x=x).shape == (1, 2)
    assert minidl.onnx.load(str(path))(x).shape == (1, 2)


def test_gradients_pass_through_conv_pool_norm_and_resize(rng):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], auto_pad="SAME_UPPER", strides=[2, 2]),
        helper.make_node("InstanceNormalization", ["a", "s", "b"], ["c"]),
        helper.make_node("MaxPool", ["c"], ["d"], kernel_shape=[2, 2], pads=[0, 0, 1, 1]),
        helper.make_node("Resize", ["d", "", "scales"], ["y"], mode="linear"),
    ]
    weights = [
        ("w", rng.standard_normal((2, 3, 3, 3))),
        ("s", np.ones(2)),
        ("b", np.zeros(2)),
        ("scales", np.array([1, 1, 2, 2], "f")),
    ]
    double = onnx.TensorProto.DOUBLE
    model = minidl.onnx.load(
        model_of(nodes, [("x", double, [2, 3, 8, 8])], [("y", double, None)], weights)
    )
    x = minidl.tensor(rng.standard_normal((2, 3, 8, 8)))
    out = model(x)
    out.pow(2).sum().backward()
    direction = rng.standard_normal(model.w.shape)
    slope = float((model.w.grad.numpy() * direction).sum())
    values = []
    for step in (1e-6, -1e-6):
        moved = model.w.array + step * direction
        before, model.w.data = model.w.array, minidl.tensor(moved)
        values.append(float(model(x).detach().pow(2).sum()))
        model.w.data = minidl.tensor(before)
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4)


# Errors


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file"):
        minidl.onnx.load(tmp_path / "none.onnx")
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"\x80\x02not a model")
    with pytest.raises(ValueError, match="not a whole ONNX file"):
        minidl.onnx.load(bad)
    node = helper.make_node("Loop", ["x"], ["y"])
    x, y = ("x", FLOAT, [1]), ("y", FLOAT, [1])
    with pytest.raises(ValueError, match=r"not supported: Loop"):
        minidl.onnx.load(model_of([node], [x], [y]))
    relu = helper.make_node("Relu", ["x"], ["y"])
    with pytest.raises(ValueError, match="opset 6 is too old"):
        minidl.onnx.load(model_of([relu], [x], [y], opset=6))
    model = minidl.onnx.load(model_of([relu], [x], [y]))
    with pytest.raises(TypeError, match=r"inputs \['x'\] are needed"):
        model()
    with pytest.raises(ValueError, match=r"must be \(1,\), got \(2,\)"):
        model(np.zeros(2, "f"))
    with pytest.raises(TypeError, match="float32 in the graph, got float64"):
        model(np.zeros(1))


# Files that PyTorch writes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["cnn", "encoder", "lstm"])
def test_files_written_by_pytorch(name, tmp_path):
    torch = pytest.importorskip("torch")
    layers = torch.nn
    torch.manual_seed(0)

    class Last(layers.Module):
        def __init__(self):
            super().__init__()
            self.layers = layers.LSTM(6, 8, 2, batch_first=True, bidirectional=True)

        def forward(self, x):
            return self.layers(x)[0][:, -1]

    model, x = {
        "cnn": lambda: (
            layers.Sequential(
                layers.Conv2d(3, 8, 3, 2, 1), layers.BatchNorm2d(8), layers.ReLU6(),
                layers.MaxPool2d(2, ceil_mode=True),
                layers.Upsample(scale_factor=2, mode="bilinear"),
                layers.ConvTranspose2d(8, 4, 3, 2, 1, 1), layers.PixelShuffle(2),
                layers.AdaptiveAvgPool2d(3), layers.Flatten(), layers.Linear(9, 2),
            ),
            torch.randn(2, 3, 24, 24),
        ),
        "encoder": lambda: (
            layers.Sequential(
                layers.TransformerEncoderLayer(8, 2, 16, batch_first=True), layers.Linear(8, 3)
            ),
            torch.randn(2, 5, 8),
        ),
        "lstm": lambda: (Last(), torch.randn(2, 5, 6)),
    }[name]()  # fmt: skip
    model.eval()
    path = tmp_path / "model.onnx"
    axes = {"x": {0: "batch"}}
    torch.onnx.export(model, (x,), path, input_names=["x"], dynamic_axes=axes, dynamo=False)
    ours = minidl.onnx.load(path)
    for batch in (2, 5):
        x = torch.randn(batch, *x.shape[1:])
        np.testing.assert_allclose(
            ours(x.numpy()).detach().numpy(), model(x).detach().numpy(), rtol=1e-5, atol=1e-5
        )
    assert sum(p.numel() for p in ours.parameters()) > 50
