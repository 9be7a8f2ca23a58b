"""Ops that are not exported, and why."""

from minidl.onnx.builder import NO_ONNX

_LOSS = "a loss: training is not exported; leave it out of the model"
_GRADIENT = "a part of gradients only, which are not exported"
_CHANGE = "a change of a part in place: write the tensor as a new one, with cat or where"
_NONE = "ONNX has no operator for it, and no exact composition of a few"

NO_ONNX.update({
    "Atan2": _NONE,
    "AvgPoolSpread": _GRADIENT,
    "BCEWithLogits": _LOSS,
    "BPR": _LOSS,
    "BatchNorm": "normalises with the batch's own statistics: call model.eval() first",
    "Col2Im": "folding windows back has no exact counterpart in opset 17; use conv_transpose",
    "ConvWeight": _GRADIENT,
    "CrossEntropy": _LOSS,
    "CsrMatMul": "ONNX has no products of sparse matrices",
    "CumProd": "ONNX has it from opset 26 on only",
    "Diagonal": _NONE,
    "Dropout": "random: call model.eval() first",
    "Erfinv": _NONE,
    "Im2Col": "unfolding into windows has no counterpart; use conv",
    "LogCumSumExp": _NONE,
    "Median": _NONE,
    "PutView": _GRADIENT,
    "SVD": _NONE,
    "Unfold": "overlapping views have no counterpart; use conv or a slice for each window",
    "WriteView": _CHANGE,
    "ZeroView": _CHANGE,
})  # fmt: skip
