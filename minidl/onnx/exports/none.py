"""Ops that are not exported, and why."""

from minidl.onnx.builder import NO_ONNX

_LOSS = "a loss: training is not exported; leave it out of the model"
_GRADIENT = "a part of gradients only, which are not exported"
_CHANGE = "a change of a part in place: write the tensor as a new one, with cat or where"
_LINALG = "ONNX has no factorizations and no solvers of linear systems"
_NONE = "ONNX has no operator for it, and no exact composition of a few"

NO_ONNX.update({
    "Atan2": _NONE,
    "AvgPoolSpread": _GRADIENT,
    "BCEWithLogits": _LOSS,
    "BPR": _LOSS,
    "ConvWeight": _GRADIENT,
    "CTC": _LOSS,
    "Cholesky": _LINALG,
    "CrossEntropy": _LOSS,
    "CsrMatMul": "ONNX has no products of sparse matrices",
    "CumProd": "ONNX has it from opset 26 on only",
    "Diagonal": _NONE,
    "Dropout": "random: call model.eval() first",
    "Eigh": _LINALG,
    "EmbeddingBag": "bags of several sizes: give ids (B, N) with padding_idx, and no offsets",
    "EmbeddingBagMax": "bags of several sizes: give ids (B, N) with padding_idx, and no offsets",
    "Erfinv": _NONE,
    "Inverse": _LINALG,
    "PInverse": _LINALG,
    "QR": _LINALG,
    "SLogDet": _LINALG,
    "Solve": _LINALG,
    "LinearCrossEntropy": _LOSS,
    "LogCumSumExp": _NONE,
    "Median": _NONE,
    "PutView": _GRADIENT,
    "SVD": _LINALG,
    "Unfold": "overlapping views have no counterpart; use conv or a slice for each window",
    "WriteView": _CHANGE,
    "ZeroView": _CHANGE,
})  # fmt: skip
