"""`python -m benchmarks speed`: the workloads run alike, and the report says what it should."""

import json

import numpy as np
import pytest

from benchmarks import __main__
from benchmarks.alternate import alternate
from benchmarks.speed import WORKLOADS, _bars, _measure, _report

TRAINED = [name for name in WORKLOADS if name not in ("import", "bpr", "top10", "op_chain")]


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_learns_in_drawn_and_small_shapes(name):
    """Every batch again and again: the loss falls; the drawn shape differs from the listed one."""
    small = _measure.make(name, {**_measure.make(name).small, "batches": 1, "lr": 1e-2})
    run = small.minidl()
    losses = [run() for _ in range(20)]
    assert np.isfinite(losses).all()
    if name != "dcgan":  # two players: neither's loss must fall
        assert losses[-1] < losses[0]
    drawn = [_measure.drawn_settings(name, 4, n) for n in (1, 2, 3)]
    assert drawn[0] != drawn[1] != drawn[2]
    assert drawn == [_measure.drawn_settings(name, 4, n) for n in (1, 2, 3)]
    listed = _measure.make(name)
    assert all(hasattr(listed, key) for key in drawn[0])
    other = _measure.make(name, json.loads(json.dumps(drawn[0])))
    assert len(other.shapes()) >= 2
    assert other.flops() >= 0


@pytest.mark.parametrize("name", TRAINED)
def test_torch_has_the_same_losses(name):
    pytest.importorskip("torch")
    small = _measure.make(name).small
    curves = {}
    for library in ("minidl", "torch"):
        run = getattr(_measure.make(name, small), library)()
        curves[library] = [run() for _ in range(4)]
    assert np.allclose(curves["minidl"], curves["torch"], rtol=1e-4, atol=1e-6)


def test_products_are_counted():
    """By hand: 2 rows through 3 -> 4 -> 1; the input needs no gradient."""
    mlp = _measure.make("mlp", {"rows": 2, "widths": (3, 4, 1)})
    assert mlp.flops() == 2 * 2 * 3 * 4 * 2 + 2 * 2 * 4 * 1 * 3
    gru = _measure.make("gru", {"rows": 2, "time": 5, "width": 3, "hidden": 4})
    assert gru.flops() == 2 * 5 * 2 * 12 * (2 * 3 + 3 * 4)


def test_two_processes_take_turns():
    target = "benchmarks.speed.op_chain:OpChain"
    results = alternate(target, ["minidl"], 3, ops=40)
    assert len(results["minidl"]["times"]) == 3
    assert results["minidl"]["peak_memory"] >= results["minidl"]["memory_before"] > 0


def row(label, ours, theirs, **more):
    name = label.split()[0]
    libraries = {
        each: {"times": [t] * 3, "median": t, "spread": 0.0}
        for each, t in {"minidl": ours, **theirs}.items()
    }
    found = {
        "workload": name, "label": label, "drawn": " " in label, "settings": {}, "unit": "steps",
        "units": 1, "libraries": libraries, "agree": True, "differences": {},
        "ratios": {"minidl": {peer: t / ours for peer, t in theirs.items()}},
        "memory": {each: [2**30, 2**29] for each in libraries}, "versions": {"python": "3"},
    }  # fmt: skip
    return {**found, **more}


def test_bars_are_judged():
    rows = [
        row("mlp", 1.0, {"torch": 2.0, "jax": 0.5}, flops=6e9, product_rate=1e10),
        row("gru", 1.0, {"torch": 4.5}, starts={"minidl": 1.0, "import torch": 2.0}),
        row("gru 4.1", 1.0, {"torch": 0.9}),
    ]
    rows.append(row("lstm", 1.0, {"torch": 3.0}, agree=False, drawn=True))
    found = {(bar.number, bar.what): bar for bar in _bars.bars(rows)}
    assert found["1", "geometric mean: torch eager / ours"].value == pytest.approx(3.0)
    assert found["1", "geometric mean: torch eager / ours"].met
    best = found["2", "mlp: best peer / ours"]
    assert (best.value, best.met) == (0.5, False)
    assert found["4", "mlp: share of the products' rate"].value == pytest.approx(0.6)
    assert found["5", "gru: import torch / warm first step"].met
    assert not found["all", "lstm: nothing failed, equal losses"].met
    assert not found["7/1", "gru 4.1: torch eager / ours"].met


def test_report(tmp_path, capsys):
    for each in (row("mlp", 1e-3, {"torch": 2.5e-3}), row("mlp 4.1", 1e-3, {"torch": 2.1e-3})):
        (tmp_path / f"{each['label'].replace(' ', '-')}.json").write_text(json.dumps(each))
    assert __main__.main(["speed", "--report", "--out", str(tmp_path)]) == 0
    assert "2.50" in (tmp_path / "table.md").read_text()
    shown = capsys.readouterr()
    assert "mlp 4.1: best peer / ours" in shown.out
    page = (tmp_path / "speed.html").read_text()
    assert "2.50" in page
    assert ("data:image/png" in page) == (tmp_path / "speed.png").exists()
    missing = ["speed", "--report", "--require", "--out", str(tmp_path)]
    assert __main__.main(missing) == 1  # nothing is missed, but what is not measured is not met
    shown = capsys.readouterr().out
    assert "MISSED" not in shown
    assert "not measured: op_chain, textcnn" in shown
    (tmp_path / "gru.json").write_text(json.dumps(row("gru", 1.0, {"torch": 0.5})))
    assert __main__.main(missing) == 1
    assert "MISSED" in capsys.readouterr().out


def test_report_without_matplotlib(tmp_path, capsys, monkeypatch):
    import builtins

    real = builtins.__import__

    def absent(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    _report.write(tmp_path, [row("mlp", 1.0, {"torch": 2.0})])
    assert "needs matplotlib" in capsys.readouterr().err
    assert (tmp_path / "speed.html").exists()
