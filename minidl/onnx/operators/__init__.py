"""What the ONNX operators do, one family a file; importing them fills `node.OPERATORS`."""

from minidl.onnx.operators import (  # noqa: F401
    activation,
    convolution,
    elementwise,
    index,
    normalization,
    pooling,
    recurrent,
    reduce,
    resize,
    shape,
)
