"""The ONNX nodes of each op, one family a file; importing them fills `builder.EXPORTS`."""

from minidl.onnx.exports import elementwise, layers, none, positions, recurrent, shape  # noqa: F401
