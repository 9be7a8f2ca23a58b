"""The `onnx` package's own node test cases, run by `minidl.onnx.load`.

    python -m benchmarks.quality.onnx_nodes [OPERATOR ...] [--all] [--expanded] [-v]

Prints passed / total for each operator, and why each failing case fails. Without names: the
operators that minidl promises (`PROMISED`); --all: every operator of the standard (those that are
not supported at all count as failures). --expanded: also the cases in which ONNX writes the
operator as a function of simpler ones. A case passes as in ONNX's own runner: equal shapes and
dtypes, values within the case's tolerances.
"""

import argparse
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

PROMISED = (
    "Add", "Sub", "Mul", "Div", "Pow", "MatMul", "Gemm", "Conv", "ConvTranspose", "MaxPool",
    "AveragePool", "GlobalAveragePool", "BatchNormalization", "LayerNormalization",
    "InstanceNormalization", "Softmax", "LogSoftmax", "Relu", "LeakyRelu", "PRelu", "Elu", "Selu",
    "Celu", "Gelu", "Sigmoid", "HardSigmoid", "HardSwish", "Mish", "Softplus", "Softsign", "Tanh",
    "ThresholdedRelu", "Swish", "Shrink", "Hardmax", "LSTM", "GRU", "RNN", "Gather",
    "GatherElements", "ScatterElements", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Pad",
    "Resize", "Reshape", "Transpose", "Concat", "Split", "Slice", "Squeeze", "Unsqueeze", "Expand",
    "Tile", "Where", "Clip", "Einsum", "CumSum", "TopK", "OneHot",
)  # fmt: skip


class Outcome(NamedTuple):
    """One case: its name, the operator it is about, and why it fails ("" if it passes)."""

    name: str
    operator: str
    why: str


def cases(expanded: bool = False) -> Iterator[tuple[str, Any]]:
    """(operator, case) of all node cases of the installed onnx package."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    owner: dict[str, str] = {}
    for case in found:
        base, cut, _ = case.name.partition("_expanded")
        if not cut and len(case.model.graph.node) == 1:
            owner[base] = case.model.graph.node[0].op_type
    for case in found:
        base, cut, _ = case.name.partition("_expanded")
        if base in owner and bool(cut) <= expanded:
            yield owner[base], case


def failure(case: Any) -> str:
    """Why minidl's outputs are not the case's, or "" if they are."""
    import minidl.onnx

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = minidl.onnx.load(case.model)
            for inputs, outputs in case.data_sets:
                got = model(*[_array(x) for x in inputs])
                got = got if isinstance(got, tuple) else (got,)
                for index, (mine, theirs) in enumerate(zip(got, outputs, strict=True)):
                    _compare(index, mine.array, np.asarray(_array(theirs)), case)
    except Exception as error:
        text = " ".join(str(error).split())
        return f"{type(error).__name__}: {text[:200]}"
    return ""


def _array(value: Any) -> Any:
    from onnx import TensorProto, numpy_helper

    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def _compare(index: int, mine: Any, theirs: Any, case: Any) -> None:
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        raise AssertionError(
            f"output {index} is {mine.dtype} {mine.shape}, not {theirs.dtype} {theirs.shape}"
        )
    np.testing.assert_allclose(mine, theirs, rtol=case.rtol, atol=case.atol, err_msg="values")


def run(names: tuple[str, ...] | None, expanded: bool = False) -> list[Outcome]:
    """The outcome of each case of these operators, of all for None."""
    chosen = [(op, case) for op, case in cases(expanded) if names is None or op in names]
    return [Outcome(case.name, op, failure(case)) for op, case in chosen]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("operators", nargs="*", metavar="OPERATOR")
    parser.add_argument("--all", action="store_true", help="every operator of the standard")
    parser.add_argument("--expanded", action="store_true", help="functions written out, too")
    parser.add_argument("-v", action="store_true", help="name the cases that pass, too")
    args = parser.parse_args(argv)
    names = None if args.all else tuple(args.operators) or PROMISED
    outcomes = run(names, args.expanded)
    for operator in sorted({o.operator for o in outcomes}):
        own = [o for o in outcomes if o.operator == operator]
        print(f"{operator:24} {sum(not o.why for o in own):4} / {len(own)}")
        for outcome in own:
            if outcome.why or args.v:
                print(f"    {outcome.name}: {outcome.why or 'passes'}")
    passed, total = sum(not o.why for o in outcomes), len(outcomes)
    print(f"\n{passed} of {total} cases pass: {passed / max(1, total):.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
