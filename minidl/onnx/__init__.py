"""Models in the ONNX format, read and run with minidl's ops.

    model = minidl.onnx.load("classifier.onnx")         # a Module: model(x), model.parameters()

Needs the `onnx` package: pip install minidl[onnx].
"""

from minidl.onnx.model import OnnxModel, load
from minidl.onnx.node import OPERATORS

__all__ = ["OPERATORS", "OnnxModel", "load"]
