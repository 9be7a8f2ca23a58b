"""Benchmarks run: what `python -m benchmarks` relies on."""

import importlib
import inspect
import json

import pytest

from benchmarks import __main__, quality
from benchmarks.roofline import machine
from benchmarks.speed import PROGRAMS

MODULES = [
    "benchmarks.roofline.kernels",
    "benchmarks.roofline.ops",
    *(f"benchmarks.speed.{name}" for name in PROGRAMS),
    *(f"benchmarks.quality.{name}" for name in __main__.names_in(quality)),
]


@pytest.mark.parametrize("module", MODULES)
def test_main_takes_arguments(module):
    main = importlib.import_module(module).main
    inspect.signature(main).bind(["--smoke"])


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        __main__.main(["speed", "sparse_stap"])
    assert "sparse_step" in capsys.readouterr().err


def test_ops_are_held_against_the_machine(tmp_path, capsys):
    file = tmp_path / "ops.json"
    assert not __main__.main(["ops", "bar4-dropout", "relu", "--smoke", "--json", str(file)])
    found = json.loads(file.read_text())
    rows = {(r["op"], r["way"]): r for r in found["ops"]}
    assert set(rows) == {("Relu", "forward"), ("Relu", "backward")}
    row = rows["Relu", "forward"]
    assert row["bytes"] == 2 * row["flops"] * 4 == 2 * 4 * row["shapes"][0][0] * row["shapes"][0][1]
    copy = found["machine"]["copy bytes/s"]["L2"]
    assert row["share"] == pytest.approx(row["bytes"] / copy / row["seconds"])
    assert {r["name"] for r in found["bar 4"]} == {"dropout"}
    assert all(r["share"] > 0 for r in found["bar 4"])
    assert "bound by" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        __main__.main(["ops", "reloo"])


def test_the_roof_is_the_longer_of_bytes_and_flops():
    roof = machine.Roof({"small": 1 << 16}, rounds=1)
    roof.copy, roof.product = {"small": 100.0}, 1000.0
    assert roof.seconds(200, 1000, "small") == (2.0, "memory")
    assert roof.seconds(200, 5000, "small") == (5.0, "FLOPs")


def test_kernels_are_held_against_their_references(tmp_path):
    from minidl import kernels

    file = tmp_path / "kernels.json"
    assert not __main__.main(["kernels", "gelu_forward", "--smoke", "--json", str(file)])
    if kernels.ENABLED:
        (row,) = json.loads(file.read_text())["kernels"]
        assert (row["kernel"], row["of"]) == ("gelu_forward", "Gelu")
        assert row["speedup"] == pytest.approx(row["reference"] / row["seconds"])
        with pytest.raises(SystemExit, match="2"):
            __main__.main(["kernels", "gelu"])
