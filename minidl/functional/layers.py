"""What the layers of `nn` do, as functions: affine maps and table rows."""


import numpy as np

from minidl._apply import apply, record
from minidl._tensor import Tensor, recorders
from minidl.ops import embedding as embedding_ops
from minidl.ops import linear as linear_ops
from minidl.typing import Array

__all__ = [
    "bilinear",
    "embedding",
    "linear",
    "one_hot",
]


def linear(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False
) -> Tensor:
    """input @ weight^T + bias over the last axis; weight is (out, in), or (in,) for one output.

    relu (not in PyTorch): max(·, 0) of it, without a pass of its own; `nn.Sequential` asks for that
    where a ReLU follows a Linear.
    """
    x, w, b = input.array, weight.array, None if bias is None else bias.array
    if (
        w.ndim == 2 and x.ndim and x.size and x.shape[-1] == w.shape[1] and x.dtype is w.dtype
    ) and (
        b is None or (b.dtype is w.dtype and b.ndim == 1 and len(b) == len(w))
    ):  # all is well: the common case, without further questions
        return apply(linear_ops.LinearRelu if relu else linear_ops.Linear, input, weight, bias)
    if relu:
        return linear(input, weight, bias).relu()
    if weight.ndim == 1:
        out = input @ weight
        return out if bias is None else out + bias
    if weight.ndim != 2 or not input.ndim or input.shape[-1] != weight.shape[1]:
        size = input.shape[-1] if input.ndim else "?"
        raise ValueError(
            f"linear: x {_dots(input)} needs weight (out, {size}), got {weight.shape}; "
            "nn.Linear stores (out_features, in_features)"
        )
    if bias is not None and bias.shape not in ((), (weight.shape[0],)):
        raise ValueError(f"linear: bias must be ({weight.shape[0]},), got {bias.shape}")
    if bias is not None and bias.ndim == 0:
        return apply(linear_ops.Linear, input, weight, None) + bias
    dtypes = {t.dtype for t in (input, weight, bias) if t is not None}
    if len(dtypes) > 1:
        raise TypeError(
            f"linear: input {input.dtype} and weight {weight.dtype} differ; bring both to one "
            "dtype, for example with .float() or model.double()"
        )
    if not input.array.size:
        out = input @ weight.swapaxes(0, 1)
        return out if bias is None else out + bias
    return apply(linear_ops.Linear, input, weight, bias)


def _dots(x: Tensor) -> str:
    return f"(..., {x.shape[-1]})" if x.ndim else "()"


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """out_o = x1^T weight_o x2 + bias_o; weight (O, D1, D2), inputs (..., D1) and (..., D2)."""
    if weight.ndim != 3:
        raise ValueError(f"bilinear: weight must be (O, D1, D2), got {weight.shape}")
    outputs, first, second = weight.shape
    if input1.shape[:-1] != input2.shape[:-1]:
        raise ValueError(
            f"bilinear: inputs must agree in all axes but the last, got {input1.shape} and "
            f"{input2.shape}"
        )
    if input1.shape[-1] != first or input2.shape[-1] != second:
        raise ValueError(
            f"bilinear: weight {weight.shape} needs inputs (..., {first}) and (..., {second}), "
            f"got {input1.shape} and {input2.shape}"
        )
    left = linear(input1, weight.swapaxes(1, 2).reshape(outputs * second, first))  # (..., O * D2)
    left = left.reshape(*input1.shape[:-1], outputs, second)
    out = (left * input2.reshape(*input2.shape[:-1], 1, second)).sum(-1)
    return out if bias is None else out + bias


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of `weight` (V, D) by their number in `input` (...), giving (..., D).

    padding_idx: a row without gradient. max_norm: rows read are first scaled down, in place, to
    that norm. scale_grad_by_freq: divides each row's gradient by how often it was read. sparse: the
    gradient of weight is a RowSparse.
    """
    if weight.ndim != 2:
        raise ValueError(f"embedding: weight must be a table (V, D), got {weight.shape}")
    ids = input.array
    rows = weight.shape[0]
    check_ids("embedding", ids, rows)
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise ValueError(f"embedding: padding_idx {padding_idx} is outside {rows} rows")
        padding_idx %= rows
    if max_norm is not None:
        _limit_norms(weight, np.unique(ids), max_norm, norm_type)
    out = apply(embedding_ops.Embedding, weight, ids, padding_idx=padding_idx, sparse=sparse)
    if scale_grad_by_freq and out.requires_grad:
        count = np.bincount(ids.reshape(-1), minlength=rows)[ids][..., None].astype(out.dtype)
        out.register_hook(lambda grad: grad / Tensor(count))
    return out


def check_ids(name: str, ids: Array, rows: int) -> None:
    """Raise where ids are not integers, or not those of a table's rows."""
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name}: ids must be integers, got {ids.dtype}; use .long()")
    if ids.size and not (ids.min() >= 0 and ids.max() < rows):
        place = tuple(int(i) for i in np.argwhere((ids < 0) | (ids >= rows))[0])
        raise IndexError(
            f"{name}: id {ids[place]} at {place} is outside the table of {rows} rows "
            f"(0 to {rows - 1})"
        )


def _limit_norms(weight: Tensor, ids: Array, max_norm: float, norm_type: float) -> None:
    norms = np.linalg.norm(weight.array[ids], ord=norm_type, axis=1)
    large = norms > max_norm
    scale = (max_norm / (norms[large] + 1e-7)).astype(weight.dtype)
    weight.array[ids[large]] *= scale[:, None]
    weight.version[0] += 1


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """1 at each class, 0 elsewhere: (...) int64 -> (..., num_classes) int64."""
    ids = tensor.array
    if ids.dtype != np.int64:
        raise TypeError(f"one_hot: int64 classes are needed, got {ids.dtype}; use .long()")
    if num_classes == -1:
        if not ids.size:
            raise ValueError("one_hot: num_classes cannot be found from no classes; give it")
        num_classes = int(ids.max()) + 1
    if ids.size and not (ids.min() >= 0 and ids.max() < num_classes):
        raise ValueError(
            f"one_hot: classes {ids.min()} to {ids.max()} do not fit num_classes={num_classes}"
        )
    out = Tensor((ids[..., None] == np.arange(num_classes)).astype(np.int64))
    if recorders:
        record("one_hot", (tensor,), {"num_classes": num_classes}, (out,))
    return out
