"""Layers of convolution, pooling, padding and resampling against torch's."""

import numpy as np
import pytest

import minidl
from minidl import Tensor, nn

SEQUENCE, IMAGE = (2, 4, 9), (2, 4, 9, 8)
LAYERS = [
    *[(f"Conv{d}d", {"in_channels": 4, "out_channels": 6, "kernel_size": 3, **more}, shape)
      for d, shape in ((1, SEQUENCE), (2, IMAGE))
      for more in (
          {}, {"stride": 2, "padding": 1, "groups": 2}, {"padding": "same", "bias": False},
          {"padding": 2, "padding_mode": "reflect", "dilation": 2}, {"padding": "valid"},
          {"padding": "same", "padding_mode": "circular"},
          {"padding": 1, "padding_mode": "replicate"},
      )],
    *[(f"ConvTranspose{d}d", {"in_channels": 4, "out_channels": 6, "kernel_size": 3, **more}, shape)
      for d, shape in ((1, SEQUENCE), (2, IMAGE))
      for more in ({}, {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2},
                   {"dilation": 2, "bias": False})],
    ("Conv2d", {"in_channels": 4, "out_channels": 8, "kernel_size": (3, 2), "groups": 4}, IMAGE),
    ("MaxPool1d", {"kernel_size": 3, "stride": 2, "padding": 1}, SEQUENCE),
    ("MaxPool2d", {"kernel_size": 2, "ceil_mode": True}, IMAGE),
    ("AvgPool1d", {"kernel_size": 2}, SEQUENCE),
    ("AvgPool2d", {"kernel_size": 3, "padding": 1, "count_include_pad": False}, IMAGE),
    ("AvgPool2d", {"kernel_size": 3, "divisor_override": 4}, IMAGE),
    ("AdaptiveAvgPool1d", {"output_size": 4}, SEQUENCE),
    ("AdaptiveAvgPool2d", {"output_size": (None, 3)}, IMAGE),
    ("AdaptiveMaxPool1d", {"output_size": 4}, SEQUENCE),
    ("AdaptiveMaxPool2d", {"output_size": 3}, IMAGE),
    ("LPPool1d", {"norm_type": 2, "kernel_size": 3}, SEQUENCE),
    ("LPPool2d", {"norm_type": 2, "kernel_size": 3, "stride": 2}, IMAGE),
    *[(f"{kind}Pad{d}d", {"padding": padding}, shape)
      for kind in ("Zero", "Reflection", "Replication", "Circular")
      for d, shape in ((1, SEQUENCE), (2, IMAGE))
      for padding in (2, tuple(range(2 * d)))],
    ("ConstantPad1d", {"padding": (1, -2), "value": 3.5}, SEQUENCE),
    ("ConstantPad2d", {"padding": 1, "value": -1.0}, IMAGE),
    ("Upsample", {"scale_factor": 2}, IMAGE),
    ("Upsample", {"size": (12, 5), "mode": "bilinear", "align_corners": True}, IMAGE),
    ("UpsamplingNearest2d", {"scale_factor": 3}, IMAGE),
    ("UpsamplingBilinear2d", {"scale_factor": 2}, IMAGE),
    ("PixelShuffle", {"upscale_factor": 2}, IMAGE),
    ("PixelUnshuffle", {"downscale_factor": 2}, (2, 3, 4, 6)),
    ("ChannelShuffle", {"groups": 2}, IMAGE),
    ("Unfold", {"kernel_size": (3, 2), "stride": 2, "padding": 1}, IMAGE),
    ("Fold", {"output_size": (4, 5), "kernel_size": 2}, (2, 8, 12)),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding=.same.")
@pytest.mark.parametrize("case", LAYERS, ids=lambda case: f"{case[0]}-{list(case[1].values())}")
def test_layers_are_torchs(case, rng):
    torch = pytest.importorskip("torch")
    name, settings, shape = case
    ours = getattr(nn, name)(**settings)
    theirs = getattr(torch.nn, name)(**settings)
    assert repr(ours) == repr(theirs)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    ours, theirs = ours.double(), theirs.double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    for one in (False, True):
        start = rng.standard_normal(shape[1:] if one else shape)
        if one and name.startswith(("ChannelShuffle", "Upsampl")):
            continue  # these need the batch
        x, y = Tensor(start.copy(), True), torch.tensor(start, requires_grad=True)
        out, known = ours(x), theirs(y)
        np.testing.assert_allclose(out.detach().numpy(), known.detach().numpy(), atol=1e-9)
        weight = rng.standard_normal(out.shape)
        ours.zero_grad()
        theirs.zero_grad()
        (out * Tensor(weight)).sum().backward()
        (known * torch.tensor(weight)).sum().backward()
        for a, b in [(x, y), *zip(ours.parameters(), theirs.parameters())]:
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-8, atol=1e-9)


def test_unpooling_layers_and_output_size(rng):
    torch = pytest.importorskip("torch")
    start = rng.standard_normal((2, 3, 7, 6))
    pools = nn.MaxPool2d(2, return_indices=True), torch.nn.MaxPool2d(2, return_indices=True)
    back = nn.MaxUnpool2d(2), torch.nn.MaxUnpool2d(2)
    assert repr(back[0]) == repr(back[1])
    out = back[0](*pools[0](Tensor(start)), output_size=(7, 6))
    known = back[1](*pools[1](torch.tensor(start)), output_size=(7, 6))
    np.testing.assert_array_equal(out.numpy(), known.numpy())
    layer = nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1)
    x = minidl.zeros(1, 3, 4, 4)
    assert layer(x).shape == (1, 2, 7, 7)
    assert layer(x, output_size=(8, 7)).shape == (1, 2, 8, 7)
    with pytest.raises(ValueError, match="output_size must lie between"):
        layer(x, output_size=(9, 7))


def test_first_values_lie_within_torchs_bound():
    minidl.manual_seed(0)
    for layer, fan in ((nn.Conv2d(8, 64, 3, groups=2), 36), (nn.ConvTranspose1d(64, 8, 3), 24)):
        bound = 1 / np.sqrt(fan)
        for parameter in layer.parameters():
            values = np.abs(parameter.detach().numpy())
            assert 0.7 * bound < values.max() <= bound


def test_errors():
    for text, make in (
        ("Conv2d: in_channels 3 and out_channels 4 must be", lambda: nn.Conv2d(3, 4, 3, groups=2)),
        ("Conv1d: kernel_size must be", lambda: nn.Conv1d(3, 4, 0)),
        ("Conv2d: padding_mode must be", lambda: nn.Conv2d(3, 4, 3, padding_mode="mirror")),
        (
            'padding_mode must be "zeros"',
            lambda: nn.ConvTranspose2d(3, 4, 3, padding_mode="circular"),
        ),
        ('padding="same" needs stride 1', lambda: nn.Conv2d(3, 4, 3, 2, "same")),
        ("padding must be numbers", lambda: nn.ConvTranspose2d(3, 4, 3, padding="same")),
        ("ZeroPad2d: padding must be", lambda: nn.ZeroPad2d((1, 2))),
    ):
        with pytest.raises(ValueError, match=text):
            make()
