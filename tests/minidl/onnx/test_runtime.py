"""Imported operators against onnxruntime on random inputs, where attributes have many meanings."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

import minidl  # noqa: E402

helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT
WORD, IMAGE, CUBE = (2, 4, 11), (2, 4, 9, 7), (1, 2, 5, 6, 4)


def run_both(op, arrays, outputs=1, opset=20, **attributes):
    """Outputs of one node from minidl and from onnxruntime; None among arrays is left out."""
    names = [f"x{i}" if a is not None else "" for i, a in enumerate(arrays)]
    outs = [f"y{i}" for i in range(outputs)]
    kind = helper.np_dtype_to_tensor_dtype
    given = {n: a for n, a in zip(names, arrays) if n}
    graph = helper.make_graph(
        [helper.make_node(op, names, outs, **attributes)],
        "g",
        [helper.make_tensor_value_info(n, kind(a.dtype), a.shape) for n, a in given.items()],
        [helper.make_tensor_value_info(n, 0, None) for n in outs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    model = onnx.shape_inference.infer_shapes(model)
    for value in model.graph.output:
        if not value.type.tensor_type.elem_type:
            value.type.tensor_type.elem_type = FLOAT
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    mine = minidl.onnx.load(model)(**given)
    mine = mine if isinstance(mine, tuple) else (mine,)
    return [y.array for y in mine], session.run(None, given)


def assert_same(op, arrays, **settings):
    for mine, other in zip(*run_both(op, arrays, **settings), strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)


def drawn(rng, *shape):
    return rng.standard_normal(shape).astype("f")


CONVOLUTIONS = [
    (WORD, (6, 4, 3), {}),
    (WORD, (6, 2, 3), {"group": 2, "pads": [2, 0], "strides": [2]}),
    (IMAGE, (6, 4, 3, 2), {"pads": [1, 0, 0, 1], "strides": [2, 1]}),
    (IMAGE, (4, 1, 3, 3), {"group": 4, "dilations": [2, 1], "pads": [1, 1, 1, 1]}),
    (IMAGE, (6, 4, 2, 4), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    (IMAGE, (6, 4, 2, 4), {"auto_pad": "SAME_LOWER"}),
    (CUBE, (4, 1, 3, 2, 2), {"group": 2, "pads": [1, 0, 1, 1, 1, 0], "strides": [1, 2, 1]}),
]


@pytest.mark.parametrize("case", range(len(CONVOLUTIONS)))
def test_conv(case, rng):
    x, weight, settings = CONVOLUTIONS[case]
    bias = drawn(rng, weight[0]) if case % 2 else None
    assert_same("Conv", [drawn(rng, *x), drawn(rng, *weight), bias], **settings)


TRANSPOSED = [
    (WORD, (4, 3, 3), {"strides": [2], "output_padding": [1]}),
    (IMAGE, (4, 3, 3, 2), {"pads": [1, 0, 0, 1], "strides": [2, 3]}),
    (IMAGE, (4, 2, 3, 3), {"group": 2, "dilations": [2, 1], "pads": [1, 1, 1, 1]}),
    (IMAGE, (4, 3, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    (IMAGE, (4, 3, 3, 3), {"output_shape": [20, 15], "strides": [2, 2]}),
    (CUBE, (2, 3, 2, 2, 2), {"strides": [1, 2, 2]}),
]


@pytest.mark.parametrize("case", range(len(TRANSPOSED)))
def test_conv_transpose(case, rng):
    x, weight, settings = TRANSPOSED[case]
    assert_same("ConvTranspose", [drawn(rng, *x), drawn(rng, *weight)], **settings)


POOLS = [
    (WORD, {"kernel_shape": [3], "strides": [2]}),
    (WORD, {"kernel_shape": [2], "strides": [3], "ceil_mode": 1}),
    (IMAGE, {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "strides": [2, 1]}),
    (IMAGE, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2], "ceil_mode": 1}),
    (IMAGE, {"kernel_shape": [2, 3], "auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    (IMAGE, {"kernel_shape": [2, 2], "dilations": [2, 3]}),
    (CUBE, {"kernel_shape": [2, 3, 2], "pads": [1, 1, 0, 0, 1, 1]}),
]


@pytest.mark.parametrize("case", range(len(POOLS)))
def test_pools(case, rng):
    x, settings = POOLS[case]
    assert_same("MaxPool", [drawn(rng, *x)], **settings)
    assert_same("MaxPool", [drawn(rng, *x)], outputs=2, **settings)
    for count in (0, 1):
        assert_same("AveragePool", [drawn(rng, *x)], count_include_pad=count, **settings)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
def test_recurrent(op, direction, rng):
    gates, ways = {"RNN": 1, "GRU": 3, "LSTM": 4}[op], 2 if direction == "bidirectional" else 1
    w, r = drawn(rng, ways, gates * 8, 6) / 2, drawn(rng, ways, gates * 8, 8) / 2
    b = drawn(rng, ways, gates * 16)
    x, h, c = drawn(rng, 7, 3, 6), drawn(rng, ways, 3, 8), drawn(rng, ways, 3, 8)
    first = [h, c] if op == "LSTM" else [h]
    settings = {"hidden_size": 8, "direction": direction, "outputs": 3 if op == "LSTM" else 2}
    assert_same(op, [x, w, r, b, None, *first], **settings)  # as one op
    assert_same(op, [x, w, r], **settings)
    lengths = np.array([7, 2, 5], np.int32)  # step by step
    assert_same(op, [x, w, r, b, lengths, *first], **settings)
    assert_same(op, [x, w, r, b, None, *first], clip=0.5, **settings)
    if op == "GRU":
        assert_same(op, [x, w, r, b, None, *first], linear_before_reset=1, **settings)
    if op == "RNN":
        assert_same(op, [x, w, r, b], activations=["Relu"] * ways, **settings)
        assert_same(op, [x, w, r, b], activations=["Softsign"] * ways, **settings)
    if op == "LSTM":
        assert_same(op, [x, w, r, b, None, h, c, drawn(rng, ways, 24)], **settings)


MODES = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("place", MODES)
def test_resize(mode, place, rng):
    x = drawn(rng, 1, 2, 5, 6)
    for scales in ([1, 1, 2, 3], [1, 1, 1.6, 0.5]):
        given = [x, None, np.array(scales, "f")]
        assert_same("Resize", given, mode=mode, coordinate_transformation_mode=place)
    sizes = [x, None, None, np.array([1, 2, 7, 4])]
    assert_same("Resize", sizes, mode=mode, coordinate_transformation_mode=place)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_pad(mode, rng):
    widths = np.array([1, 0, 2, 0, 2, 1])
    given = [drawn(rng, 3, 4, 5), widths]
    assert_same("Pad", [*given, np.array(1.5, "f")] if mode == "constant" else given, mode=mode)


def test_slices_of_all_kinds(rng):
    x = drawn(rng, 5, 6, 7)
    for starts, ends, axes, steps in (
        ([1, -3], [4, 100], [0, 2], [1, 2]),
        ([-1, 4], [-100, 0], [1, 2], [-1, -2]),
        ([3], [1], [0], [1]),
    ):
        assert_same("Slice", [x, *[np.array(a) for a in (starts, ends, axes, steps)]])


@pytest.mark.parametrize(
    ("op", "settings"),
    [
        ("LayerNormalization", {"axis": 1}),
        ("LayerNormalization", {"axis": -1, "outputs": 3}),
        ("Softmax", {"axis": 1}),
        ("LogSoftmax", {"axis": 0}),
        ("Softmax", {"axis": 1, "opset": 11}),
        ("Gelu", {"approximate": "tanh"}),
        ("TopK", {"axis": 1, "largest": 0, "outputs": 2}),
        ("CumSum", {"exclusive": 1, "reverse": 1}),
        ("ReduceLogSumExp", {"keepdims": 0}),
        ("ReduceL2", {}),
    ],
)
def test_others(op, settings, rng):
    x = drawn(rng, 3, 4, 5)
    more = {
        "TopK": [np.array([3])],
        "CumSum": [np.int64(1)],
        "ReduceLogSumExp": [np.array([0, 2])],
        "ReduceL2": [np.array([1])],
    }.get(op, [])
    if op == "LayerNormalization":
        shape = x.shape[settings["axis"] :]
        more = [drawn(rng, *shape), drawn(rng, *shape)]
    assert_same(op, [x, *[np.asarray(a) for a in more]], **settings)
