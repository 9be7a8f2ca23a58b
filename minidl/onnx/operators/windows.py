"""Windows over the spatial axes: paddings by rule, and the windows themselves as a view."""

from collections.abc import Sequence
from typing import NamedTuple

from minidl._tensor import Tensor
from minidl.onnx.node import NodeView
from minidl.onnx.operators.shape import padded


class Windows(NamedTuple):
    """What a convolution or pooling does along its spatial axes: one number an axis in each."""

    kernel: list[int]
    stride: list[int]
    dilation: list[int]
    before: list[int]
    after: list[int]
    extra: list[int]  # beyond the padding, for the last window that ceil_mode lets in

    @property
    def plain(self) -> bool:
        """Padding equal on both sides: what the functions of `nn.functional` take."""
        return self.before == self.after and not any(self.extra)


def windows_of(node: NodeView, sizes: Sequence[int], kernel: Sequence[int]) -> Windows:
    """The windows that a node's attributes ask for, over axes of the given sizes."""
    count = len(sizes)
    stride = node.get("strides") or [1] * count
    dilation = node.get("dilations") or [1] * count
    pads = node.get("pads") or [0] * (2 * count)
    before, after, extra = list(pads[:count]), list(pads[count:]), [0] * count
    rule = node.get("auto_pad", "NOTSET")
    for i, size in enumerate(sizes):
        span = (kernel[i] - 1) * dilation[i] + 1
        if rule == "VALID":
            before[i] = after[i] = 0
        elif rule != "NOTSET":
            before[i], after[i] = same_padding(
                (-(-size // stride[i]) - 1) * stride[i] + span - size, rule
            )
        if node.get("ceil_mode", 0):
            rest = size + before[i] + after[i] - span
            steps = -(-rest // stride[i])
            if steps * stride[i] >= size + before[i]:
                steps -= 1  # a window must not begin in the padding
            extra[i] = max(0, steps * stride[i] - rest)
    return Windows(list(kernel), list(stride), list(dilation), before, after, extra)


def same_padding(total: int, rule: str) -> tuple[int, int]:
    """A padding's two sides: the odd one goes after for SAME_UPPER, before for SAME_LOWER."""
    total = max(0, total)
    half = total // 2
    return (half, total - half) if rule == "SAME_UPPER" else (total - half, half)


def spread(x: Tensor, rule: Windows, value: float) -> Tensor:
    """All windows of x (B, C, *S), with `value` around it: (B, C, *O, *K)."""
    for i in range(x.ndim - 2):
        x = padded(x, 2 + i, rule.before[i], rule.after[i] + rule.extra[i], "constant", value)
    for i, size in enumerate(rule.kernel):
        x = x.unfold(2 + i, (size - 1) * rule.dilation[i] + 1, rule.stride[i])
        x = x[..., :: rule.dilation[i]]
    return x


def counts(rule: Windows, sizes: Sequence[int], with_padding: bool) -> list[list[int]]:
    """For each axis, how many taps of each window lie in the array (or its padding)."""
    out = []
    for i, size in enumerate(sizes):
        span = (rule.kernel[i] - 1) * rule.dilation[i] + 1
        total = size + rule.before[i] + rule.after[i] + rule.extra[i]
        low = -rule.before[i] if with_padding else 0
        high = size + rule.after[i] if with_padding else size
        starts = range(-rule.before[i], total - rule.before[i] - span + 1, rule.stride[i])
        taps = range(0, span, rule.dilation[i])
        out.append([sum(low <= start + tap < high for tap in taps) for start in starts])
    return out
