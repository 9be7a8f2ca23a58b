"""Recurrent layers against torch's, against naive loops, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import Tensor, nn
from minidl.nn.utils import rnn as seq

KINDS = ("RNN", "LSTM", "GRU")
CASES = [
    (kind, {"num_layers": 2, "bidirectional": True, **more})
    for kind in KINDS
    for more in ({}, {"batch_first": True, "bias": False})
]
CASES += [("RNN", {"nonlinearity": "relu"}), ("LSTM", {"proj_size": 2, "num_layers": 2})]
CASES += [("LSTM", {"proj_size": 1, "bidirectional": True, "bias": False})]


def naive(mode, x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr=None):
    """One sequence x (T, D) through one layer, straight from the equations; rows of h."""

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    rows = []
    for row in x:
        a, b = w_ih @ row + b_ih, w_hh @ h + b_hh
        if mode == "LSTM":
            i, f, g, o = np.split(a + b, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            h = h if w_hr is None else w_hr @ h
        elif mode == "GRU":
            (r, z, n), (hr, hz, hn) = np.split(a, 3), np.split(b, 3)
            z = sigmoid(z + hz)
            h = (1 - z) * np.tanh(n + sigmoid(r + hr) * hn) + z * h
        else:
            h = np.tanh(a + b)
        rows.append(h)
    return np.array(rows)


def parameters(layer):
    return [p.detach().numpy() for p in layer.parameters()]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_padding_and_order_change_no_valid_output(kind, data):
    """Each sequence of a packed batch comes out as if it were alone, whatever the padding holds."""
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.standard_normal((len(lengths), max(lengths) + 1, 3))
    layer = getattr(nn, kind)(3, 4, batch_first=True, dtype=minidl.float64)
    packed = seq.pack_padded_sequence(Tensor(x), lengths, True, enforce_sorted=False)
    out, last = layer(packed)
    padded, counts = seq.pad_packed_sequence(out, batch_first=True)
    assert counts.tolist() == lengths
    last = last[0] if kind == "LSTM" else last
    for i, n in enumerate(lengths):
        zero = np.zeros(4)
        want = naive(kind, x[i, :n], zero, zero, *parameters(layer))
        np.testing.assert_allclose(padded[i, :n].detach().numpy(), want, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(last[0, i].detach().numpy(), want[-1], rtol=1e-12, atol=1e-14)
        assert not padded[i, n:].detach().numpy().any()
    whole, _ = layer(Tensor(x))  # and without packing, up to each length
    for i, n in enumerate(lengths):
        got = whole[i, :n].detach().numpy()
        np.testing.assert_allclose(got, padded[i, :n].detach().numpy(), rtol=1e-12, atol=1e-14)


def both(kind, options, width=3, hidden=4):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, kind)(width, hidden, **options).double()
    ours = getattr(nn, kind)(width, hidden, **options).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return torch, ours, theirs


def states_for(ours, batch, rng):
    count = ours.num_layers * (2 if ours.bidirectional else 1)
    widths = [ours.proj_size or ours.hidden_size, ours.hidden_size]
    return [rng.standard_normal((count, batch, n)) for n in widths[: 1 + (ours.mode == "LSTM")]]


def flat(result):
    """Output and states as a list of tensors."""
    out, last = result
    out = out.data if hasattr(out, "batch_sizes") else out
    return [out, *(last if isinstance(last, tuple) else [last])]


def compare(torch, ours, theirs, run, x, states, seed=5):
    """Outputs, last states and all gradients of `run(library, layer, x, states)`."""
    results = []
    for library, layer in ((torch, ours), (torch, theirs)):
        mine = layer is ours
        library = minidl if mine else torch
        given = [library.tensor(a, requires_grad=True) for a in (x, *states)]
        hx = given[1:] if len(states) > 1 else given[1] if states else None
        outs = flat(run(library, layer, given[0], tuple(hx) if isinstance(hx, list) else hx))
        rng = np.random.default_rng(seed)
        weights = [library.tensor(rng.standard_normal(tuple(o.shape))) for o in outs]
        sum((o * w).sum() for o, w in zip(outs, weights)).backward()
        grads = [t.grad for t in (*given, *layer.parameters())]
        results.append([a.detach().numpy() for a in (*outs, *grads)])
    for got, want in zip(*results):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_layers_are_torchs(kind, options, rng):
    torch, ours, theirs = both(kind, options)
    x = rng.standard_normal((2, 5, 3))

    def run(library, layer, x, hx):
        return layer(x, hx)

    batch = 2 if ours.batch_first else 5
    compare(torch, ours, theirs, run, x, states_for(ours, batch, rng))
    compare(torch, ours, theirs, run, x, [])
    compare(torch, ours, theirs, run, x[0], [s[:, 0] for s in states_for(ours, 1, rng)])


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_packed_sequences_are_torchs(kind, options, rng):
    torch, ours, theirs = both(kind, options)
    lengths = [2, 5, 1, 5, 3]
    x = rng.standard_normal((5, 6, 3))

    def run(library, layer, x, hx):
        utils = seq if library is minidl else library.nn.utils.rnn
        packed = utils.pack_padded_sequence(
            x if layer.batch_first else x.transpose(0, 1), library.tensor(lengths),
            layer.batch_first, enforce_sorted=False,
        )  # fmt: skip
        return layer(packed, hx)

    compare(torch, ours, theirs, run, x, states_for(ours, 5, rng))


@pytest.mark.parametrize("kind", KINDS)
def test_long_sequences_in_several_blocks(kind, rng):
    """More rows than one block of weight gradients, with equal and with different lengths."""
    torch, ours, theirs = both(kind, {"bidirectional": True})
    x = rng.standard_normal((400, 3, 3))

    def packed(library, layer, x, hx):
        utils = seq if library is minidl else library.nn.utils.rnn
        return layer(utils.pack_padded_sequence(x, library.tensor([400, 399, 30])), hx)

    compare(torch, ours, theirs, lambda library, layer, x, hx: layer(x, hx), x, [])
    compare(torch, ours, theirs, packed, x, states_for(ours, 3, rng))


def test_by_hand():
    """RNN of one unit: h1 = tanh(0.5 * 1 + 0.1), h2 = tanh(0.5 * 2 + 0.1 - h1)."""
    layer = nn.RNN(1, 1).double()
    state = {"weight_ih_l0": [[0.5]], "weight_hh_l0": [[-1.0]], "bias_ih_l0": [0.3]}
    layer.load_state_dict({k: np.array(v) for k, v in {**state, "bias_hh_l0": [-0.2]}.items()})
    out, last = layer(minidl.tensor([[1.0], [2.0]], dtype=minidl.float64))
    first = np.tanh(0.6)
    want = [first, np.tanh(1.1 - first)]
    np.testing.assert_allclose(out.detach().numpy()[:, 0], want, rtol=1e-15)
    last.sum().backward()
    slope = 1 - want[1] ** 2
    through = 1 - first**2  # the slope of h1
    assert layer.weight_hh_l0.grad.item() == pytest.approx(slope * first)
    assert layer.bias_hh_l0.grad.item() == pytest.approx(slope * (1 - through))


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_step_as_layers_do(kind, rng):
    cell = getattr(nn, kind)(3, 4).double()
    layer = getattr(nn, kind.removesuffix("Cell"))(3, 4).double()
    layer.load_state_dict({f"{k}_l0": v for k, v in cell.state_dict().items()})
    x = Tensor(rng.standard_normal((6, 2, 3)))
    state = None
    for t in range(6):
        state = cell(x[t], state)
    out, last = layer(x)
    h = state[0] if kind == "LSTMCell" else state
    np.testing.assert_allclose(h.detach().numpy(), out[-1].detach().numpy(), rtol=1e-13)
    if kind == "LSTMCell":
        np.testing.assert_allclose(state[1].detach().numpy(), last[1][0].detach().numpy(), 1e-13)
    alone = cell(x[0, 0])  # without a batch
    alone = alone[0] if kind == "LSTMCell" else alone
    np.testing.assert_allclose(alone.detach().numpy(), out[0, 0].detach().numpy(), rtol=1e-13)


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_look_like_torchs(kind):
    torch = pytest.importorskip("torch")
    for options in ({}, {"bias": False}, {"nonlinearity": "relu"}):
        if "nonlinearity" not in options or kind == "RNNCell":
            ours = getattr(nn, kind)(3, 4, **options)
            theirs = getattr(torch.nn, kind)(3, 4, **options)
            assert repr(ours) == repr(theirs)
            assert list(ours.state_dict()) == list(theirs.state_dict())


def test_initial_weights_fill_the_interval(rng):
    layer = nn.LSTM(30, 16, num_layers=2)
    values = np.concatenate([p.detach().numpy().ravel() for p in layer.parameters()])
    assert 0.24 < values.max() <= 0.25
    assert -0.25 <= values.min() < -0.24
    assert abs(values.mean()) < 0.005


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_backpropagation(kind, rng):
    """A state whose history is cut carries its value on, and no gradient back."""
    layer = getattr(nn, kind)(3, 4).double()
    x = Tensor(rng.standard_normal((6, 2, 3)), requires_grad=True)
    whole, _ = layer(x)

    def cut(state):
        return tuple(s.detach() for s in state) if kind == "LSTM" else state.detach()

    state, outs = None, []
    for piece in x.split(3):
        out, state = layer(piece, state if state is None else cut(state))
        outs.append(out)
    np.testing.assert_allclose(minidl.cat(outs).detach().numpy(), whole.detach().numpy(), 1e-14)
    outs[1].sum().backward()
    assert not x.grad.numpy()[:3].any()
    assert x.grad.numpy()[3:].all()
    truncated = x.grad.numpy()[3:].copy()
    x.grad = None
    whole[3:].sum().backward()
    assert x.grad.numpy()[:3].all()  # uncut, the first piece gets its share
    np.testing.assert_allclose(x.grad.numpy()[3:], truncated, rtol=1e-12)


def test_dropout_acts_between_layers_in_training(rng):
    x = Tensor(rng.standard_normal((5, 2, 3)))
    layer = nn.GRU(3, 40, num_layers=2, dropout=0.5).double()
    plain = nn.GRU(3, 40, num_layers=2).double()
    plain.load_state_dict(layer.state_dict())
    first, last = layer(x)
    second, _ = layer(x)
    assert not np.array_equal(first.detach().numpy(), second.detach().numpy())
    assert first.detach().numpy().all()  # nothing is dropped from the output
    known, ends = plain(x)
    np.testing.assert_array_equal(last[0].detach().numpy(), ends[0].detach().numpy())
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].detach().numpy(), known.detach().numpy())
    with pytest.warns(UserWarning, match="num_layers=1"):
        nn.GRU(3, 4, dropout=0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_at_the_edge(kind):
    layer = getattr(nn, kind)(3, 4, bidirectional=True)
    out, _ = layer(minidl.ones(1, 2, 3))
    assert out.shape == (1, 2, 8)
    assert out.dtype == minidl.float32
    empty = minidl.ones(5, 0, 3, requires_grad=True)
    out, _ = layer(empty)
    assert out.shape == (5, 0, 8)
    out.sum().backward()
    assert empty.grad.shape == (5, 0, 3)
    assert not layer.weight_hh_l0.grad.numpy().any()


def test_huge_numbers_saturate_the_gates():
    for kind in KINDS:
        layer = getattr(nn, kind)(3, 4)
        x = minidl.full((4, 2, 3), 1e4, requires_grad=True)
        out, _ = layer(x)
        out.sum().backward()
        assert np.isfinite(out.detach().numpy()).all()
        assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("kind", KINDS)
def test_float16_is_a_way_to_store(kind, rng):
    """Steps are computed in float32: results are rounded, and gradients before they are added."""
    half = getattr(nn, kind)(3, 20, bidirectional=True).half()
    single = getattr(nn, kind)(3, 20, bidirectional=True)
    single.load_state_dict({k: v.float() for k, v in half.state_dict().items()})
    x = rng.standard_normal((30, 4, 3)).astype(np.float16)
    outs = []
    for layer, dtype in ((half, np.float16), (single, np.float32)):
        given = Tensor(x.astype(dtype), requires_grad=True)
        out, _ = layer(given)
        out.sum().backward()
        assert out.dtype == given.grad.dtype == layer.weight_hh_l0.grad.dtype == dtype
        outs.append((out.detach().numpy(), given.grad.numpy()))
    (out, dx), (known, known_dx) = outs
    np.testing.assert_array_equal(out, known.astype(np.float16))
    np.testing.assert_allclose(dx, known_dx, rtol=2e-3, atol=2e-3)


def test_what_a_change_of_the_output_in_place_does():
    layer = nn.GRU(2, 3)
    out, _ = layer(minidl.ones(4, 2, 2))
    loss = out.sum()
    out.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an in-place"):
        (loss + out.sum()).backward()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.LSTM(3, 4)(minidl.ones(5, 2, 7)), "input_size is 3"),
        (lambda: nn.LSTM(3, 4)(minidl.ones(5, 2, 3), minidl.ones(1, 2, 4)), "a pair"),
        (lambda: nn.GRU(3, 4)(minidl.ones(5, 2, 3), minidl.ones(1, 3, 4)), r"\(1, 2, 4\)"),
        (lambda: nn.GRU(3, 4)(minidl.ones(5, 2, 3).double()), "one dtype"),
        (lambda: nn.GRU(3, 4)(minidl.ones(0, 2, 3)), "at least one time step"),
        (lambda: nn.GRU(3, 4)(minidl.ones(3)), "2 or 3 axes"),
        (lambda: nn.GRU(3, 4)(minidl.ones(5, 3), minidl.ones(1, 2, 4)), "no batch"),
        (lambda: nn.GRUCell(3, 4)(minidl.ones(2, 5)), r"\(B, 3\)"),
        (lambda: nn.GRUCell(3, 4)(minidl.ones(2, 3), minidl.ones(3, 4)), "needs a state"),
        (lambda: nn.LSTM(3, 4, proj_size=4), "smaller than hidden_size"),
        (lambda: nn.RNN(3, 4, nonlinearity="gelu"), "'tanh' or 'relu'"),
        (lambda: nn.GRU(3, 0), "1 or more"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
