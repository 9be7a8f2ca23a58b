"""Models in the ONNX format: read and run with minidl's ops, or written for other runtimes.

    model = minidl.onnx.load("classifier.onnx")         # a Module: model(x), model.parameters()
    minidl.onnx.export(net, x, "net.onnx", ["x"], ["y"], dynamic_axes={"x": {0: "batch"}})

Needs the `onnx` package: pip install minidl[onnx].
"""

from minidl.onnx.builder import EXPORTS, NO_ONNX, ExportError
from minidl.onnx.exporter import export
from minidl.onnx.model import OnnxModel, load
from minidl.onnx.node import OPERATORS

__all__ = ["EXPORTS", "NO_ONNX", "OPERATORS", "ExportError", "OnnxModel", "export", "load"]
