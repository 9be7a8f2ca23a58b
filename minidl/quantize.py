"""Weights in int8, for inference: a quarter of the memory, and quicker where memory is the limit.

    small = quantize_dynamic(model, {nn.Linear, nn.Embedding})
    print(compare(model, small, x))

Each row of a weight has a step of its own (Jacob et al. 2018, arXiv:1712.05877, with zero point 0;
rows apart as in Krishnamoorthi 2018, arXiv:1806.08342):

    s_o = max_d |w_od| / 127,   q_od = round(w_od / s_o),   w_od = s_o q_od to within s_o / 2

A Linear layer rounds each row of its input in the same way when it is called ("dynamic"), so that
what becomes of one sample does not depend on its batch:

    t_n = max_d |x_nd| / 127,   p_nd = round(x_nd / t_n),   y_no = t_n s_o sum_d p_nd q_od + b_o

The sum is of whole numbers, in int32. RNN, LSTM and GRU, which use their weights once a time step,
and Embedding store int8 and compute in float32.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from minidl import kernels
from minidl._tensor import Tensor
from minidl.autograd import is_grad_enabled, no_grad
from minidl.nn.attention import MultiheadAttention
from minidl.nn.embedding import Embedding
from minidl.nn.linear import Linear
from minidl.nn.module import Module
from minidl.nn.recurrent import GRU, LSTM, RNN, RNNBase
from minidl.typing import Array

__all__ = [
    "LayerReport", "QuantizedEmbedding", "QuantizedLinear", "QuantizedRecurrent", "Report",
    "compare", "dequantized", "quantize_dynamic", "quantized",
]  # fmt: skip

_GEMM_FROM = 32  # rows from which a float product of the dequantized weight is quicker


def quantized(weight: Array) -> tuple[Array, Array]:
    """A matrix (O, D) as int8 (O, D) and the step (O,) of each row; a row of zeros has step 0."""
    if weight.ndim != 2 or weight.dtype.kind != "f":
        raise TypeError(
            f"quantized: a floating-point matrix is needed, got {weight.shape} {weight.dtype}"
        )
    if not np.isfinite(weight).all():
        raise ValueError("quantized: the weight holds NaN or inf, which int8 cannot")
    step = np.abs(weight).max(axis=1, initial=0) / 127
    safe = np.where(step > 0, step, 1)[:, None]
    return np.rint(weight / safe).astype(np.int8), step.astype(np.float32)


def dequantized(q: Array, step: Array) -> Array:
    """float32 values of an int8 matrix."""
    return q.astype(np.float32) * step[:, None]


def _for_inference(name: str, *inputs: Tensor) -> None:
    if is_grad_enabled() and any(x.requires_grad for x in inputs):
        raise RuntimeError(
            f"{name}: int8 layers have no gradient, but the input requires one; call the model "
            "under minidl.no_grad()"
        )


class QuantizedLinear(Module):
    """A Linear layer with an int8 weight: (..., in_features) -> (..., out_features).

    State: weight (O, D) int8, scale (O,), bias (O,) or none.
    """

    def __init__(self, layer: Linear):
        super().__init__()
        q, step = quantized(layer.weight.array)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.register_buffer("weight", Tensor(q))
        self.register_buffer("scale", Tensor(step))
        bias = None if layer.bias is None else Tensor(layer.bias.array.astype(np.float32))
        self.register_buffer("bias", bias)

    def forward(self, input: Tensor) -> Tensor:
        _for_inference("QuantizedLinear", input)
        if input.dtype.kind != "f" or not input.ndim or input.shape[-1] != self.in_features:
            raise ValueError(
                f"QuantizedLinear: x must be floating point (..., {self.in_features}), got "
                f"{input.shape} {input.dtype}"
            )
        count = int(np.prod(input.shape[:-1], dtype=np.int64))
        x = np.ascontiguousarray(input.array, np.float32).reshape(count, self.in_features)
        out = np.empty((count, self.out_features), np.float32)
        bias = self.bias.array if self.bias is not None else np.zeros(self.out_features, np.float32)
        if count < _GEMM_FROM:
            kernels.int8_linear(x, self.weight.array, self.scale.array, bias, out)
        else:
            _by_gemm(x, self.weight.array, self.scale.array, bias, out)
        return Tensor(out.reshape(*input.shape[:-1], self.out_features).astype(input.dtype))

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, dtype=int8"
        )


def _by_gemm(x: Array, weight: Array, scale: Array, bias: Array, out: Array) -> None:
    """What kernels.int8_linear does, with a float product of the whole numbers."""
    largest = np.abs(x).max(axis=1, initial=0)
    with np.errstate(all="ignore"):
        factor = np.where(largest > 0, np.float32(127) / largest, np.float32(0))
    whole = np.rint(x * factor[:, None])
    np.matmul(whole, weight.T.astype(np.float32), out=out)
    out *= (largest / np.float32(127))[:, None]
    out *= scale
    out += bias


class QuantizedEmbedding(Module):
    """An Embedding with an int8 table. State: weight (V, D) int8, scale (V,)."""

    def __init__(self, layer: Embedding):
        super().__init__()
        if layer.max_norm is not None:
            raise ValueError(
                "QuantizedEmbedding: max_norm changes the table, which int8 does not allow"
            )
        self.num_embeddings, self.embedding_dim = layer.num_embeddings, layer.embedding_dim
        q, step = quantized(layer.weight.array)
        self.register_buffer("weight", Tensor(q))
        self.register_buffer("scale", Tensor(step))

    def forward(self, input: Tensor) -> Tensor:
        ids = input.array
        if ids.dtype.kind not in "iu":
            raise TypeError(f"QuantizedEmbedding: ids must be integers, got {ids.dtype}")
        if ids.size and not (ids.min() >= 0 and ids.max() < self.num_embeddings):
            raise IndexError(
                f"QuantizedEmbedding: ids {ids.min()} to {ids.max()} are not all in the table of "
                f"{self.num_embeddings} rows"
            )
        rows = self.weight.array[ids].astype(np.float32)  # (..., D)
        rows *= self.scale.array[ids][..., None]
        return Tensor(rows)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, dtype=int8"


class QuantizedRecurrent(Module):
    """An RNN, LSTM or GRU whose weights are stored as int8, and made float32 at each call.

    State: for each weight its int8 matrix under its name and its steps under name + "_scale";
    biases as they were.
    """

    def __init__(self, layer: RNNBase):
        super().__init__()
        self.kind = type(layer).__name__
        shell = copy.copy(layer)  # the settings, without the parameters
        shell.__dict__["_parameters"] = {}
        object.__setattr__(self, "_shell", shell)
        self._matrices: list[str] = []
        for name, parameter in layer._parameters.items():
            if parameter is None:
                continue
            if parameter.ndim != 2:
                self.register_buffer(name, Tensor(parameter.array.astype(np.float32)))
                continue
            q, step = quantized(parameter.array)
            self._matrices.append(name)
            self.register_buffer(name, Tensor(q))
            self.register_buffer(f"{name}_scale", Tensor(step))

    def forward(self, input: Any, hx: Any = None) -> Any:
        states = hx if isinstance(hx, tuple) else () if hx is None else (hx,)
        data = input if isinstance(input, Tensor) else input.data
        _for_inference(self.kind, data, *states)
        shell = copy.copy(self.__dict__["_shell"])  # of this call: threads do not meet
        weights = {k: v for k, v in self._buffers.items() if not k.endswith("_scale")}
        for name in self._matrices:
            q, step = self._buffers[name], self._buffers[f"{name}_scale"]
            weights[name] = Tensor(dequantized(q.array, step.array))
        shell.__dict__["_parameters"] = weights
        shell.training = self.training
        return shell.forward(input, hx)

    def extra_repr(self) -> str:
        return f"{self.kind}({self.__dict__['_shell'].extra_repr()}), dtype=int8"


_TWINS: dict[type[Module], Callable[[Any], Module]] = {
    Linear: QuantizedLinear, Embedding: QuantizedEmbedding, RNN: QuantizedRecurrent,
    LSTM: QuantizedRecurrent, GRU: QuantizedRecurrent,
}  # fmt: skip


def quantize_dynamic(
    model: Module, qconfig_spec: Iterable[Any] | None = None, dtype: Any = "int8",
    *, inplace: bool = False,
) -> Module:  # fmt: skip
    """A copy of the model (itself if `inplace`) with int8 layers, in eval().

    qconfig_spec: types (nn.Linear, nn.Embedding, nn.RNN, nn.LSTM, nn.GRU) and paths of layers, such
    as "encoder.0"; None: all types but Embedding. A Linear layer that MultiheadAttention owns stays
    float, for its weight is read from outside.
    """
    if np.dtype(dtype) != np.int8:
        raise ValueError(f"quantize_dynamic: the dtype must be int8, got {np.dtype(dtype)}")
    wanted = set(_TWINS) - {Embedding} if qconfig_spec is None else set(qconfig_spec)
    types = {w for w in wanted if isinstance(w, type)}
    paths = {w for w in wanted if isinstance(w, str)}
    unknown = (types - set(_TWINS)) | (wanted - types - paths)
    if unknown:
        names = ", ".join(sorted(getattr(u, "__name__", repr(u)) for u in unknown))
        known = ", ".join(sorted(t.__name__ for t in _TWINS))
        raise ValueError(f"quantize_dynamic: {names} cannot be quantized; {known} can")
    missing = paths - {name for name, _ in model.named_modules()}
    if missing:
        raise ValueError(f"quantize_dynamic: the model has no layer {', '.join(sorted(missing))}")
    if not inplace:
        model = copy.deepcopy(model)
    if type(model) in types:
        return _TWINS[type(model)](model).eval()
    made: dict[int, Module] = {}  # a layer at two places stays one
    for path, parent in list(model.named_modules()):
        for name, child in parent._modules.items():
            if child is None or isinstance(parent, MultiheadAttention):
                continue
            whole = f"{path}.{name}" if path else name
            if type(child) in types or whole in paths:
                if type(child) not in _TWINS:
                    raise ValueError(
                        f"quantize_dynamic: {whole} is a {type(child).__name__}, which cannot be "
                        "quantized"
                    )
                if id(child) not in made:
                    made[id(child)] = _TWINS[type(child)](child)
                parent._modules[name] = made[id(child)]
    return model.eval()


class LayerReport(NamedTuple):
    """One layer: the largest error of its outputs, absolute and against their largest value."""

    path: str
    kind: str
    error: float
    relative: float
    bytes_before: int
    bytes_after: int


class Report(NamedTuple):
    """What `compare` found: of each int8 layer, and of the model's output as a whole."""

    layers: list[LayerReport]
    output: LayerReport

    def __str__(self) -> str:
        lines = [f"{'layer':<28} {'max error':>10} {'relative':>9} {'bytes':>22}"]
        for layer in (*self.layers, self.output):
            size = f"{layer.bytes_before:,} -> {layer.bytes_after:,}"
            title = f"{layer.path} {layer.kind}".strip()
            lines.append(f"{title:<28} {layer.error:>10.3g} {layer.relative:>9.2%} {size:>22}")
        return "\n".join(lines)


def compare(model: Module, small: Module, *inputs: Any) -> Report:
    """Run both models on the same inputs, in eval(), and report errors and sizes.

    A layer's error is that of its output in the model as it runs: what layers before it added to
    its input counts too.
    """
    twins = dict(small.named_modules())
    names = [n for n, m in model.named_modules() if type(twins.get(n)) is not type(m)]
    before, after = _outputs(model, names, inputs), _outputs(small, names, inputs)
    layers = []
    for name in names:
        if name and name in before and name in after:
            layer = model.get_submodule(name)
            layers.append(_report(name, layer, twins[name], before[name], after[name]))
    return Report(layers, _report("", model, small, before[""], after[""]))


def _outputs(model: Module, names: list[str], inputs: tuple[Any, ...]) -> dict[str, Array]:
    """The (first) output of each named layer, and under "" the model's own."""
    found: dict[str, Array] = {}
    handles = []
    for name in {*names, ""}:

        def note(module: Module, args: Any, out: Any, name: str = name) -> None:
            while isinstance(out, tuple):
                out = out[0]
            found[name] = out.detach().numpy().astype(np.float64)

        handles.append(model.get_submodule(name).register_forward_hook(note))
    training = {m: m.training for m in model.modules()}
    try:
        with no_grad():
            model.eval()(*inputs)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in training.items():
            module.training = mode
    return found


def _report(path: str, layer: Module, small: Module, want: Array, got: Array) -> LayerReport:
    error = float(np.abs(got - want).max(initial=0))
    largest = float(np.abs(want).max(initial=0))
    sizes = [sum(t.nbytes for t in m.state_dict().values()) for m in (layer, small)]
    relative = error / largest if largest else 0.0
    return LayerReport(path, type(layer).__name__, error, relative, sizes[0], sizes[1])
