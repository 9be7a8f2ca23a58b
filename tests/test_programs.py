"""Plain PyTorch programs (tests/programs) run under minidl, with PyTorch's losses."""

import numpy as np
import pytest

from benchmarks.quality.programs import FOLDER, PROGRAMS, compare, gap, load, run


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_losses_as_under_torch(name):
    pytest.importorskip("torch")
    row = compare(name, 50)
    assert row["float64"] < 1e-9
    assert row["float32, 5 steps"] < 1e-4
    assert row["float32 : float64"] < max(3 * row["torch's float32 : float64"], 1e-6)


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_trains(name):
    """The loss falls under minidl alone, from minidl's own weights."""
    (losses, _), _ = run(name, "minidl", "float32", 50)
    values = np.array(losses, np.float64).reshape(len(losses), -1)
    assert np.isfinite(values).all()
    if name == "wgan_gp":  # the critic learns to tell the images apart: the penalised cost falls
        assert values[-1, 0] < values[0, 0] - 1
    elif name == "dcgan":  # the discriminator's loss fell below that of guessing, 2 log 2
        assert values[:, 0].min() < 1.2
    else:
        assert values[-5:].mean() < 0.97 * values[:3].mean()


def test_one_source():
    """Under minidl nothing but the import lines differ, and torch is not among them."""
    for file in {file for file, _ in PROGRAMS.values()}:
        text = (FOLDER / f"{file}.py").read_text()
        assert "minidl" not in text
        assert "import torch" in text
        assert load(file, "minidl").torch.__name__ == "minidl"


def test_gap():
    assert gap([1.0, 20.0], [1.0, 10.0]) == 1.0
    assert gap([(0.5, 0.25)], [(0.5, 0.5)]) == 0.25
