"""Bad input gets one clear line: what was wrong, and what to do; and nothing is lost by it.

The command line's own table stands in tests/ecommerce/commands.
"""

import gzip

import numpy as np
import pytest

import ecommerce as ec
import minidl
import minidl.nn.functional as F
from minidl import nn, optim

x32 = minidl.ones(4, 3)
ids = minidl.tensor([0, 1, 2])


def small_shop():
    return ec.Interactions.from_ids(list("aabbcc"), list("xyxzyz"), times=range(6))


MISTAKES = {
    # shapes
    "broadcast": (lambda: x32 + minidl.ones(2), r"add: shapes do not broadcast.*\(4, 3\).*\(2,\)"),
    "matmul": (lambda: x32 @ minidl.ones(4, 2), r"matmul: the last size.*\(4, 3\).*\(4, 2\)"),
    "linear": (lambda: nn.Linear(5, 2)(x32), r"linear: x \(\.\.\., 3\) needs weight"),
    "reshape": (lambda: x32.reshape(5, 2), r"reshape.*\(5, 2\).*12"),
    "cat": (lambda: minidl.cat([x32, minidl.ones(4)]), r"cat"),
    "stack": (lambda: minidl.stack([x32, minidl.ones(4)]), r"stack"),
    "squeeze": (lambda: x32.squeeze(7), r"squeeze.*dim 7.*out of range"),
    "sum": (lambda: x32.sum(2), r"sum: dim 2 is out of range"),
    "permute": (lambda: x32.permute(0, 0), r"permute"),
    "expand": (lambda: x32.expand(4, 5), r"expand"),
    "index": (lambda: x32[9], r"index 9 is out of bounds.*\(4, 3\)"),
    "boolean index": (lambda: x32[minidl.ones(3) > 0], r"mask|boolean|shape"),
    "gather": (lambda: x32.gather(1, minidl.full((4, 1), 7)), r"gather|index"),
    "einsum": (lambda: minidl.einsum("ij,jk->ik", x32, x32), r"einsum"),
    "layer norm": (lambda: nn.LayerNorm(5)(x32), r"layer_norm.*\(5,\).*\(4, 3\)"),
    "mse": (lambda: F.mse_loss(x32, minidl.ones(5)), r"mse_loss.*\(4, 3\).*\(5,\)"),
    "split": (lambda: x32.split([1, 1], 0), r"split"),
    "item": (lambda: x32.item(), r"item: one element.*\(4, 3\)"),
    # dtypes and devices
    "dtype of ids": (lambda: F.embedding(x32, x32), r"embedding: ids must be integers.*float32"),
    "dtype unknown": (lambda: minidl.zeros(2, dtype="complex128"), r"complex128.*float32"),
    "device": (lambda: minidl.zeros(2, device="cuda"), r"'cuda'.*'cpu'"),
    "gradient of ints": (
        lambda: minidl.tensor([1], requires_grad=True), r"floating point.*int64"
    ),
    "mixed dtypes": (
        lambda: F.linear(x32, minidl.ones(2, 3, dtype=minidl.float64)), r"float32.*float64"
    ),
    "softmax of ints": (lambda: ids.softmax(0), r"softmax: floating point.*int64"),
    # values
    "embedding range": (lambda: F.embedding(ids, minidl.ones(2, 3)), r"id 2.*table of 2 rows"),
    "class range": (
        lambda: F.cross_entropy(x32, minidl.tensor([0, 1, 2, 3])), r"class|target"
    ),
    "dropout p": (lambda: F.dropout(x32, 1.5), r"dropout.*p.*1\.5"),
    "reduction": (lambda: F.mse_loss(x32, x32, reduction="avg"), r"'avg'.*mean"),
    "lr": (lambda: optim.Adam([minidl.ones(1, requires_grad=True)], lr=-1), r"lr.*-1"),
    "betas": (
        lambda: optim.Adam([minidl.ones(1, requires_grad=True)], betas=(0.9, 1.5)), r"beta.*1\.5"
    ),
    "no parameters": (lambda: optim.SGD([]), r"empty"),
    "seed": (lambda: minidl.manual_seed(-1), r"seed"),
    "threads": (lambda: minidl.set_num_threads(0), r"whole number above 0"),
    # the tape
    "backward of a matrix": (
        lambda: (minidl.ones(2, 2, requires_grad=True) * 2).backward(), r"\(2, 2\)"
    ),
    "backward of a constant": (lambda: x32.sum().backward(), r"does not require a gradient"),
    "in place on a leaf": (lambda: minidl.ones(2, requires_grad=True).add_(1), r"leaf"),
    "numpy of a leaf": (lambda: minidl.ones(2, requires_grad=True).numpy(), r"detach"),
    # modules and state
    "super().__init__": (lambda: type("M", (nn.Module,), {"__init__": _early})(), r"super"),
    "state dict": (
        lambda: nn.Linear(2, 2).load_state_dict({"weight": np.ones((3, 2)), "wieght": 0}),
        r"different shapes.*missing keys: bias.*unexpected keys: wieght",
    ),
    # the shop
    "lengths": (lambda: ec.Interactions.from_ids(["a"], ["x", "y"]), r"one entry a row"),
    "NaN value": (
        lambda: ec.Interactions.from_ids(["a"], ["x"], values=[np.nan]), r"value of row 0 is nan"
    ),
    "unknown split": (lambda: ec.split(small_shop(), how="random"), r"'random'.*leave_last"),
    "share": (lambda: ec.split(small_shop(), how="ratio", test=1.5), r"1\.5"),
    "not fitted": (lambda: ec.models.ItemKNN().recommend(k=3), r"not fitted.*fit"),
    "not interactions": (lambda: ec.models.Popular().fit([1, 2]), r"list.*Interactions"),
    "k": (lambda: ec.models.Popular().fit(small_shop()).recommend(k=0), r"k=0.*1 or more"),
    "parameter": (lambda: ec.models.ItemKNN(decay=2.0), r"decay=2\.0"),
    "set_params": (lambda: ec.models.ItemKNN().set_params(dacay=0.5), r"no parameter 'dacay'"),
}


def _early(self):
    self.layer = nn.Linear(1, 1)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(name):
    mistake, message = MISTAKES[name]
    errors = (ValueError, TypeError, RuntimeError, IndexError, KeyError, AttributeError)
    with pytest.raises(errors, match=message) as caught:
        mistake()
    assert "\n" not in str(caught.value)


FILES = {
    "missing": (None, r"no such file"),
    "empty": (b"", r"empty"),
    "blank": (b"\n\n\n", r"no data"),
    "binary": (bytes(range(256)) * 10, r"binary|not.*text"),
    "cut gz": (gzip.compress(b"user,item\n" + b"a,b\n" * 5000)[:40], r"cut off or damaged"),
    "no item column": (b"user,colour\na,red\nb,blue\n", r"item.*user, colour"),
    "text value": (b"user,item,rating\na,x,5\nb,y,good\n", r"line 3.*'good' is not a number"),
    "bad time": (b"user,item,time\na,x,2020-01-01\nb,y,soon\n", r"line 3.*'soon'"),
    "short row": (b"user,item,rating\na,x,5\nb,y\n", r"line 3"),
    "prose": (b"once upon a time\nthere was a shop\n", r"format"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_named_with_its_line(name, tmp_path):
    content, message = FILES[name]
    path = tmp_path / "orders.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ec.DataError, match=message) as caught:
        ec.read_interactions(path)
    assert "orders.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_failed_load_leaves_the_model_as_it_was():
    layer = nn.Linear(2, 2)
    before = layer.weight.array.copy()
    with pytest.raises(RuntimeError, match="Nothing was changed"):
        layer.load_state_dict({"weight": np.ones((2, 2)), "bias": np.ones(3)})
    np.testing.assert_array_equal(layer.weight.array, before)
