"""Multi-head and grouped attention against torch and by hand; the cache against the full pass."""

import itertools
import math

import numpy as np
import pytest

import minidl
from minidl import nn, no_grad, tensor


def pair(**options):
    """The same layer in both libraries, in float64."""
    torch = pytest.importorskip("torch")
    theirs = torch.nn.MultiheadAttention(6, 2, **options).double()
    ours = nn.MultiheadAttention(6, 2, **options).double()
    for p in theirs.parameters():  # biases start as 0
        torch.nn.init.normal_(p)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return torch, ours, theirs


def agree(torch, ours, theirs, arrays, **options):
    mine = [tensor(a, requires_grad=True) for a in arrays]
    peer = [torch.tensor(a, requires_grad=True) for a in arrays]
    convert = {k: v for k, v in options.items() if isinstance(v, np.ndarray)}
    out, weights = ours(*mine, **{**options, **{k: tensor(v) for k, v in convert.items()}})
    known, known_weights = theirs(
        *peer, **{**options, **{k: torch.tensor(v) for k, v in convert.items()}}
    )
    np.testing.assert_allclose(out.detach().numpy(), known.detach().numpy(), rtol=1e-9, atol=1e-11)
    assert (weights is None) == (known_weights is None)
    if weights is not None:
        np.testing.assert_allclose(
            weights.detach().numpy(), known_weights.detach().numpy(), rtol=1e-9, atol=1e-11
        )
    dout = np.random.default_rng(0).standard_normal(out.shape)
    (out * tensor(dout)).sum().backward()
    (known * torch.tensor(dout)).sum().backward()
    for x, y in [*zip(mine, peer), *zip(ours.parameters(), theirs.parameters())]:
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-8, atol=1e-10)
    names = [n for n, _ in ours.named_parameters()]
    assert names == [n for n, _ in theirs.named_parameters()]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"batch_first": True},
        {"add_bias_kv": True},
        {"add_zero_attn": True, "add_bias_kv": True},
        {"kdim": 5, "vdim": 4},
        {"kdim": 5, "bias": False, "batch_first": True},
    ],
)
@pytest.mark.parametrize("need_weights", [False, True])
def test_every_option_is_torchs(rng, options, need_weights):
    torch, ours, theirs = pair(**options)
    q = rng.standard_normal((3, 3, 6))
    k = rng.standard_normal((3, 3, options.get("kdim", 6)))
    v = rng.standard_normal((3, 3, options.get("vdim", 6)))
    more = {"need_weights": need_weights, "average_attn_weights": bool(options)}
    agree(torch, ours, theirs, [q, k, v], **more)
    agree(torch, ours, theirs, [x[0] for x in (q, k, v)], **more)  # without a batch
    padding = np.array([[False, False, True], [False, True, False], [False, False, False]])
    barred = np.triu(np.ones((3, 3), bool), 1)
    barred[0, 1], padding[1] = False, False
    for mask in (barred, rng.standard_normal((3, 3)), rng.standard_normal((6, 3, 3))):
        same_kind = padding if mask.dtype == bool else np.where(padding, -np.inf, 0.0)
        agree(torch, ours, theirs, [q, k, v], attn_mask=mask, **more)
        agree(torch, ours, theirs, [q, k, v], attn_mask=mask, key_padding_mask=same_kind, **more)


@pytest.mark.parametrize("need_weights", [False, True])
def test_is_causal_is_the_mask(rng, need_weights):
    torch, ours, theirs = pair(batch_first=True)
    x = [rng.standard_normal((2, 5, 6))] * 3
    mask = np.triu(np.ones((5, 5), bool), 1)
    agree(torch, ours, theirs, x, attn_mask=mask, is_causal=True, need_weights=need_weights)
    given = tensor(x[0])
    full, _ = ours(given, given, given, attn_mask=tensor(mask), need_weights=False)
    out, _ = ours(given, given, given, is_causal=True, need_weights=need_weights)
    np.testing.assert_allclose(out.detach().numpy(), full.detach().numpy(), atol=1e-12)
    padding = tensor(np.arange(5) == np.array([[0], [4]]))
    both = {"key_padding_mask": padding, "need_weights": need_weights}
    first, _ = ours(given, given, given, attn_mask=tensor(mask), **both)
    second, _ = ours(given, given, given, is_causal=True, **both)
    np.testing.assert_allclose(first.detach().numpy(), second.detach().numpy(), atol=1e-12)


def test_the_formula_by_hand(rng):
    layer = nn.MultiheadAttention(4, 2, batch_first=True).double()
    x = rng.standard_normal((3, 4))
    w, b = layer.in_proj_weight.array, layer.in_proj_bias.array
    q, k, v = (x @ w[i : i + 4].T + b[i : i + 4] for i in (0, 4, 8))
    heads = []
    for h in (slice(0, 2), slice(2, 4)):
        e = np.exp(q[:, h] @ k[:, h].T / math.sqrt(2))
        heads.append(e / e.sum(1, keepdims=True) @ v[:, h])
    want = np.concatenate(heads, 1) @ layer.out_proj.weight.array.T
    given = tensor(x[None])
    out, weights = layer(given, given, given)
    np.testing.assert_allclose(out.detach().numpy()[0], want, rtol=1e-12)
    np.testing.assert_allclose(weights.sum(-1).detach().numpy(), 1.0)


def test_first_values_and_names():
    minidl.manual_seed(0)
    layer = nn.MultiheadAttention(64, 4, add_bias_kv=True)
    bound = math.sqrt(6 / (64 + 192))
    w = layer.in_proj_weight.array
    assert abs(w).max() <= bound
    assert abs(w.std() - bound / math.sqrt(3)) < 0.01 * bound * 3
    assert not layer.in_proj_bias.array.any()
    assert not layer.out_proj.bias.array.any()
    assert list(layer.state_dict()) == [
        "in_proj_weight", "in_proj_bias", "bias_k", "bias_v", "out_proj.weight", "out_proj.bias"
    ]  # fmt: skip
    separate = nn.MultiheadAttention(8, 2, kdim=3, vdim=5)
    assert separate.k_proj_weight.shape == (8, 3)
    assert separate.in_proj_weight is None


def test_a_blind_query_gives_the_output_bias(rng):
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    x = tensor(rng.standard_normal((2, 3, 4)).astype(np.float32), requires_grad=True)
    padding = tensor(np.array([[True] * 3, [False] * 3]))
    for need_weights in (False, True):
        out, _ = layer(x, x, x, key_padding_mask=padding, need_weights=need_weights)
        out.sum().backward()
        np.testing.assert_array_equal(out[0].detach().numpy(), 0.0)
        assert np.isfinite(x.grad.numpy()).all()


def test_dropout_only_in_training(rng):
    layer = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
    x = tensor(rng.standard_normal((2, 5, 8)).astype(np.float32))
    for need_weights in (False, True):
        layer.train()
        one, two = (layer(x, x, x, need_weights=need_weights)[0].detach().numpy() for _ in "ab")
        assert not np.allclose(one, two)
        layer.eval()
        one, two = (layer(x, x, x, need_weights=need_weights)[0].detach().numpy() for _ in "ab")
        np.testing.assert_array_equal(one, two)


def test_the_function_is_torchs(rng):
    torch, ours, theirs = pair()
    x = rng.standard_normal((3, 2, 6))
    keys = rng.standard_normal((4, 4, 3))  # (B H, S, d)
    results = []
    for library, layer, new in ((minidl, ours, tensor), (torch, theirs, torch.tensor)):
        q = new(x)
        out, weights = library.nn.functional.multi_head_attention_forward(
            q, q, q, 6, 2, layer.in_proj_weight, layer.in_proj_bias, None, None, False, 0.0,
            layer.out_proj.weight, layer.out_proj.bias, static_k=new(keys), static_v=new(2 * keys),
        )  # fmt: skip
        results.append((out.detach().numpy(), weights.detach().numpy()))
    for got, want in zip(*results):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: nn.MultiheadAttention(5, 2), "multiple of num_heads"),
        (lambda: nn.GroupedQueryAttention(8, 4, 3), "multiple of num_kv_heads"),
        (lambda: _run(np.ones((3, 2, 5))), r"query must be \(..., 4\)"),
        (lambda: _run(np.ones((3, 2, 4)), attn_mask=tensor(np.ones((3, 4), bool))), "attn_mask"),
        (lambda: _run(np.ones((3, 2, 4)), key_padding_mask=tensor(np.ones((3, 2), bool))),
         r"key_padding_mask must be \(2, 3\)"),
        (lambda: _run(np.ones((3, 2, 4)), attn_mask=tensor(np.ones((3, 3), int))), "bool or float"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(call, text):
    with pytest.raises((ValueError, TypeError), match=text):
        call()


def _run(x, **options):
    x = tensor(x.astype(np.float32))
    return nn.MultiheadAttention(4, 2)(x, x, x, **options)


# the cache


def steps(layer, x, cuts, axis=1):
    """Outputs of the pieces of x, one after another with a cache."""
    cache, outs = nn.KVCache(), []
    with no_grad():
        for a, b in itertools.pairwise(cuts):
            piece = x[:, a:b] if axis else x[a:b]
            outs.append(layer(piece, cache).numpy())
    assert len(cache) == cuts[-1]
    return np.concatenate(outs, axis)


CUTS = [[0, 1, 2, 3, 4, 5, 6, 7], [0, 4, 5, 7], [0, 1, 7]]


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_steps_give_the_full_pass(rng, cuts, batch_first):
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first).eval()
    x = tensor(rng.standard_normal((2, 7, 8) if batch_first else (7, 2, 8)).astype(np.float32))
    full = layer(x, x, x, is_causal=True, need_weights=False)[0].detach().numpy()
    axis = 1 if batch_first else 0
    for need_weights in (False, True):

        def step(p, cache, need_weights=need_weights):
            return layer(p, p, p, cache=cache, need_weights=need_weights)[0]

        out = steps(step, x, cuts, axis)
        np.testing.assert_allclose(out, full, atol=1e-6)


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("interleaved", [False, True])
def test_grouped_steps_with_rotary_positions(rng, cuts, interleaved):
    rotary = nn.RotaryPositions(4, interleaved=interleaved)
    layer = nn.GroupedQueryAttention(16, 4, 2, rotary=rotary).eval()
    x = tensor(rng.standard_normal((2, 7, 16)).astype(np.float32))
    full = layer(x, is_causal=True).detach().numpy()
    np.testing.assert_allclose(steps(lambda p, c: layer(p, cache=c), x, cuts), full, atol=1e-6)


def test_grouped_steps_with_alibi(rng):
    layer, alibi = nn.GroupedQueryAttention(16, 4, 1), nn.ALiBi(4)
    x = tensor(rng.standard_normal((2, 7, 16)).astype(np.float32))
    full = layer(x, alibi(7), is_causal=True).detach().numpy()

    def step(p, cache):
        n = p.shape[1]
        return layer(p, alibi(n, len(cache) + n, len(cache)), cache=cache)

    for cuts in CUTS:
        np.testing.assert_allclose(steps(step, x, cuts), full, atol=1e-6)


def test_grouped_is_multi_head_with_repeated_weights(rng):
    few, many = nn.GroupedQueryAttention(8, 4, 2).double(), nn.GroupedQueryAttention(8, 4).double()
    state = {k: v.detach().numpy() for k, v in few.state_dict().items()}
    for name in ("k_proj", "v_proj"):
        w, b = state[f"{name}.weight"].reshape(2, 2, 8), state[f"{name}.bias"].reshape(2, 2)
        state[f"{name}.weight"] = np.repeat(w, 2, axis=0).reshape(8, 8)
        state[f"{name}.bias"] = np.repeat(b, 2, axis=0).reshape(8)
    many.load_state_dict(state)
    x = tensor(rng.standard_normal((2, 5, 8)))
    want = many(x, is_causal=True).detach().numpy()
    np.testing.assert_allclose(few(x, is_causal=True).detach().numpy(), want, rtol=1e-12)


def test_the_cache_of_chosen_rows_and_shorter(rng):
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    x = tensor(rng.standard_normal((2, 5, 8)).astype(np.float32))
    cache = nn.KVCache()
    with no_grad():
        layer(x, x, x, cache=cache)
        cache.truncate(3)
        cache.reorder([1, 1])
        out = layer(x[:, 3:4], x[:, 3:4], x[:, 3:4], cache=cache)[0].numpy()
        turned = tensor(np.concatenate([np.repeat(x.array[1:, :3], 2, 0), x.array[:, 3:4]], 1))
        want = layer(turned, turned, turned, is_causal=True)[0].numpy()[:, 3:]
        np.testing.assert_allclose(out, want, atol=1e-6)
        cache.reset()
        assert len(cache) == 0
        with pytest.raises(ValueError, match="cannot keep 4"):
            cache.truncate(4)


def test_the_cache_is_for_inference(rng):
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    x = tensor(rng.standard_normal((2, 5, 8)).astype(np.float32))
    with pytest.raises(RuntimeError, match="no_grad"):
        layer(x, x, x, cache=nn.KVCache())
    cache = nn.KVCache()
    with no_grad():
        layer(x, x, x, cache=cache)
        with pytest.raises(ValueError, match=r"reset\(\)"):
            layer(x[:1], x[:1], x[:1], cache=cache)
        with pytest.raises(ValueError, match="attn_mask"):
            layer(x, x, x, attn_mask=tensor(np.ones((5, 5), bool)), cache=cache)
