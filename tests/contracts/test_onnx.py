"""Every op either has ONNX nodes, or a reason why it has none."""

import importlib
import pkgutil

import minidl.ops
from minidl.onnx import EXPORTS, NO_ONNX
from minidl.ops._op import REGISTRY

for _module in pkgutil.iter_modules(minidl.ops.__path__):
    importlib.import_module(f"minidl.ops.{_module.name}")


def test_every_op_is_exported_or_has_a_reason():
    missing = sorted(set(REGISTRY) - set(EXPORTS) - set(NO_ONNX))
    assert not missing, f"{missing}: add them to minidl/onnx/exports, or to NO_ONNX in its none.py"


def test_no_op_is_in_both_tables_and_reasons_are_sentences():
    assert not set(EXPORTS) & set(NO_ONNX)
    assert all(len(why) > 10 for why in NO_ONNX.values())
