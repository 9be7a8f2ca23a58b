"""`python -m minidl`: pages for everything, the doctor, the warm-up."""

import re
from pathlib import Path

import numpy as np
import pytest

from minidl import nn, optim
from minidl.__main__ import main
from minidl.describe import describe, entries, find, listing, nearest
from minidl.describe.code import ROOT, kernels_of, ops_of
from minidl.ops._op import REGISTRY

PREFIX = {"op": "ops.", "layer": "nn.", "loss": "nn.", "kernel": "kernels."}
NOT_RUN = {  # bases, containers and parts: there is nothing to run
    "KVCache", "Module", "ModuleDict", "ModuleList", "Parameter", "ParameterDict", "ParameterList",
    "RNNBase", "RNNCellBase",
}  # fmt: skip


def test_the_list_is_complete():
    named = {(entry.kind, entry.name) for entry in entries()}
    for name in REGISTRY:
        assert ("op", name) in named
    for name in nn.__all__:
        if isinstance(getattr(nn, name), type):
            assert ("layer", name) in named or ("loss", name) in named, name
    for name in optim.__all__:
        if isinstance(getattr(optim, name), type):
            assert ("optimizer", name) in named, name
    text = listing()
    for _, name in named:
        assert name in text


def test_every_page():
    """Each has its docstring and a place that exists; an op its code, a layer an example."""
    for entry in entries():
        page = describe(PREFIX.get(entry.kind, "") + entry.name, seconds=0)
        first = next(p for p in re.findall(r"([\w/.]+\.py):(\d+)", page))
        lines = (ROOT / first[0]).read_text().splitlines()
        assert 0 < int(first[1]) <= len(lines)
        doc = getattr(entry.thing, "__doc__", None) or ""
        assert doc.split("\n")[0].strip() in page, entry
        if entry.kind == "op":
            assert "forward     minidl/ops" in page, entry
            assert "test inputs tests/cases" in page, entry
            if entry.thing.differentiable:
                assert "backward    minidl/ops" in page, entry
        if entry.kind in ("layer", "loss") and entry.name not in NOT_RUN:
            assert "example     none" not in page, page


@pytest.mark.parametrize("family", sorted({e.family for e in entries() if e.kind == "op"}))
def test_every_op_is_measured(family):
    for entry in entries():
        if entry.kind == "op" and entry.family == family:
            page = describe(f"ops.{entry.name}", seconds=1e-4, large=False)
            assert re.search(r"\n  forward +[\d.]+ (µs|ms|s) .*FLOP.* (k|M|G|T)?B ", page), page


def test_kernels_are_found_by_name():
    op = REGISTRY["LayerNorm"]
    assert [k.name for k in kernels_of(op.forward)] == ["layer_norm_forward"]
    assert [k.name for k in kernels_of(op.backward)] == ["layer_norm_backward"]
    assert REGISTRY["Linear"] in ops_of(nn.functional.linear)


def test_a_page_of_conv2d():
    page = describe("conv2d", seconds=1e-3)
    for text in ("dweight", "Shapes:", "LeCun", "im2col  minidl/kernels/conv.py", "backward  "):
        assert text in page
    assert "x (16, 32, 28, 28) float32" in page
    # 2 * 16 images * 28 * 28 places * 32 * 32 channels * 3 * 3 taps
    assert f"{2 * 16 * 28 * 28 * 32 * 32 * 9 / 1e6:.3g} MFLOP" in page


def test_find():
    assert {e.kind for e in find("Linear")} == {"layer", "op"}
    assert [e.kind for e in find("nn.Linear")] == ["layer"]
    assert [e.kind for e in find("torch.nn.functional.softmax")] == ["function"]
    assert [e.name for e in find("ADAMW")] == ["AdamW"]
    assert "softmax" in [name.lower() for name in nearest("sofmax")]


def test_commands(capsys):
    assert main(["describe", "--seconds", "0", "relu"]) == 0
    assert "relu_forward" in capsys.readouterr().out
    assert main(["describe", "no_such_layr"]) == 2
    assert "nothing is called 'no_such_layr'" in capsys.readouterr().err
    assert main(["describe"]) == 0
    assert "optimizers (" in capsys.readouterr().out


def test_doctor_and_warmup(capsys, monkeypatch, tmp_path):
    from minidl import kernels

    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    code = main(["doctor"])
    said = capsys.readouterr().out
    for word in ("numpy", "BLAS", "folder", "product", "what is wrong"):
        assert word in said
    assert code == 1
    assert "OMP_WAIT_POLICY=passive" in said if kernels.ENABLED else "not compiled" in said


def test_warmup(capsys):
    from minidl import kernels, warmup

    ran = []
    works = {"one": lambda: ran.append(1), "two": lambda: ran.append(2), "bpr": warmup.bpr}
    code = warmup.run(works, ["two", "bpr"])
    assert code == (0 if kernels.ENABLED else 1)
    if kernels.ENABLED:
        assert ran == [2]
        assert "two" in capsys.readouterr().out
        assert kernels.sparse_adam_rows._serial.overloads
    assert main(["warmup", "--for", "mpl"]) == 2
    assert "there is mlp, textcnn" in capsys.readouterr().err


def test_measuring_leaves_the_ops_alone():
    before = {op: op.__dict__["forward"] for op in REGISTRY.values()}
    describe("softmax", seconds=1e-4)
    assert before == {op: op.__dict__["forward"] for op in REGISTRY.values()}
    assert Path(ROOT, "minidl").is_dir()
    assert np.isfinite(nn.functional.softmax(nn.Parameter(np.zeros(3)), -1).array).all()
