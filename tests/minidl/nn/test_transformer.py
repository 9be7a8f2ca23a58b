"""Transformer layers and stacks against torch, and run step by step."""

import numpy as np
import pytest

import minidl
from minidl import nn, no_grad, tensor

SIZES = {"d_model": 6, "nhead": 2, "dim_feedforward": 8, "dropout": 0.0}


def pair(name, *arguments, **options):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, name)(*arguments, **options).double()
    for p in theirs.parameters():
        torch.nn.init.normal_(p, std=0.4)
    ours = getattr(nn, name)(*arguments, **options).double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return torch, ours, theirs


def agree(torch, ours, theirs, arrays, **masks):
    mine = [tensor(a, requires_grad=True) for a in arrays]
    peer = [torch.tensor(a, requires_grad=True) for a in arrays]
    plain = {k: v for k, v in masks.items() if not isinstance(v, np.ndarray)}
    arrays = {k: v for k, v in masks.items() if isinstance(v, np.ndarray)}
    out = ours(*mine, **plain, **{k: tensor(v) for k, v in arrays.items()})
    known = theirs(*peer, **plain, **{k: torch.tensor(v) for k, v in arrays.items()})
    np.testing.assert_allclose(out.detach().numpy(), known.detach().numpy(), rtol=1e-8, atol=1e-9)
    dout = np.random.default_rng(0).standard_normal(out.shape)
    (out * tensor(dout)).sum().backward()
    (known * torch.tensor(dout)).sum().backward()
    for x, y in [*zip(mine, peer), *zip(ours.parameters(), theirs.parameters())]:
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-6, atol=1e-8)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]


OPTIONS = [
    {},
    {"norm_first": True, "batch_first": True, "activation": "gelu"},
    {"bias": False, "layer_norm_eps": 1e-3},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_encoder_layers_are_torchs(rng, options):
    both = pair("TransformerEncoderLayer", **SIZES, **options)
    x = [rng.standard_normal((3, 3, 6))]
    barred = np.triu(np.ones((3, 3), bool), 1)
    agree(*both, x)
    agree(*both, x, src_mask=barred, is_causal=True)
    agree(*both, x, src_mask=barred, src_key_padding_mask=np.eye(3, k=2, dtype=bool))
    agree(*both, [x[0][0]])


@pytest.mark.parametrize("options", OPTIONS)
def test_decoder_layers_are_torchs(rng, options):
    both = pair("TransformerDecoderLayer", **SIZES, **options)
    shape = (3, 4, 6) if options.get("batch_first") else (4, 3, 6)
    x = [rng.standard_normal((3, 3, 6)), rng.standard_normal(shape)]
    barred = np.triu(np.ones((3, 3), bool), 1)
    padding = np.arange(4) == np.array([[1], [3], [9]])
    agree(*both, x)
    agree(*both, x, tgt_mask=barred, tgt_is_causal=True, memory_key_padding_mask=padding)
    agree(*both, x, memory_mask=rng.standard_normal((3, 4)),
          tgt_key_padding_mask=np.eye(3, k=2, dtype=bool))  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, of nested tensors
def test_the_whole_transformer_is_torchs(rng):
    sizes = {"num_encoder_layers": 2, "num_decoder_layers": 2}
    both = pair("Transformer", **SIZES, **sizes, norm_first=True)
    x = [rng.standard_normal((4, 2, 6)), rng.standard_normal((3, 2, 6))]
    agree(*both, x)
    causal = nn.Transformer.generate_square_subsequent_mask(3, dtype="float64").numpy()
    padding = np.zeros((2, 4), bool)
    padding[1, 2:] = True
    agree(*both, x, tgt_mask=causal, src_key_padding_mask=padding, memory_key_padding_mask=padding)


def test_the_subsequent_mask():
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    inf = np.inf
    assert mask.dtype == minidl.get_default_dtype()
    np.testing.assert_array_equal(mask.numpy(), [[0, -inf, -inf], [0, 0, -inf], [0, 0, 0]])


def test_a_stack_starts_with_equal_weights_of_its_own():
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8), 3)
    first, last = stack.layers[0].linear1.weight, stack.layers[2].linear1.weight
    assert first is not last
    np.testing.assert_array_equal(first.detach().numpy(), last.detach().numpy())
    assert len(list(stack.parameters())) == 3 * 12
    with pytest.raises(ValueError, match="nested tensors"):
        nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8), 3, enable_nested_tensor=True)
    with pytest.raises(TypeError, match="must be a Module"):
        nn.TransformerEncoder("layer", 3)


def test_a_layer_of_pytorch_is_taken_over(rng):
    torch = pytest.importorskip("torch")
    layer = torch.nn.TransformerEncoderLayer(6, 2, 8, 0.0, torch.nn.functional.gelu).double()
    ours = nn.TransformerEncoder(layer, 1).double()
    x = rng.standard_normal((3, 2, 6))
    want = layer(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(ours(tensor(x)).detach().numpy(), want, atol=1e-6)


def test_activations_by_name_and_as_functions(rng):
    x = tensor(rng.standard_normal((3, 2, 6)).astype(np.float32))
    minidl.manual_seed(1)
    by_name = nn.TransformerEncoderLayer(6, 2, 8, 0.0, "gelu")
    minidl.manual_seed(1)
    as_module = nn.TransformerEncoderLayer(6, 2, 8, 0.0, nn.GELU())
    np.testing.assert_array_equal(by_name(x).detach().numpy(), as_module(x).detach().numpy())
    with pytest.raises(ValueError, match="'relu', 'gelu' or a function"):
        nn.TransformerEncoderLayer(6, 2, 8, 0.0, "tanhh")


def test_the_causal_mask_is_found_out(rng, monkeypatch):
    """A causal mask is taken as is_causal, so no mask need be added to the logits."""
    import minidl.functional.attention as attention

    seen, before = [], attention.allowed_or_added

    def spy(mask, *rest):
        seen.append(mask)
        return before(mask, *rest)

    monkeypatch.setattr(attention, "allowed_or_added", spy)
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8, 0.0), 1)
    x = tensor(rng.standard_normal((4, 2, 6)).astype(np.float32))
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    want = stack.layers[0](x, mask).detach().numpy()
    for given in (mask, mask == -np.inf):
        np.testing.assert_allclose(stack(x, given).detach().numpy(), want, atol=1e-6)
    other = tensor(np.zeros((4, 4), np.float32))
    stack(x, other)
    assert [m is None for m in seen] == [False, True, True, False]


def test_steps_of_a_decoder_only_model(rng):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    stack = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8)).eval()
    x = tensor(rng.standard_normal((2, 6, 8)).astype(np.float32))
    full = stack(x, is_causal=True).detach().numpy()
    caches = [nn.KVCache() for _ in range(2)]
    with no_grad():
        outs = [stack(x[:, t : t + 1], cache=caches).numpy() for t in range(6)]
    np.testing.assert_allclose(np.concatenate(outs, 1), full, atol=1e-6)
    with no_grad(), pytest.raises(ValueError, match="one KVCache a layer: 2"):
        stack(x, cache=caches[:1])


def test_steps_of_a_decoder(rng):
    layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
    stack = nn.TransformerDecoder(layer, 2).eval()
    x = tensor(rng.standard_normal((2, 6, 8)).astype(np.float32))
    memory = tensor(rng.standard_normal((2, 4, 8)).astype(np.float32))
    full = stack(x, memory, tgt_is_causal=True).detach().numpy()
    caches = [nn.KVCache() for _ in range(2)]
    with no_grad():
        outs = [stack(x[:, a:b], memory, cache=caches).numpy() for a, b in ((0, 3), (3, 4), (4, 6))]
    np.testing.assert_allclose(np.concatenate(outs, 1), full, atol=1e-6)
