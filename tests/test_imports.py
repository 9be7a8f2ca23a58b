"""Imports only point down, and nothing is loaded before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Each layer may import the ones before it, and itself.
LAYERS = (
    ("minidl.cuda", "minidl.typing"),
    ("minidl.kernels",),
    ("minidl.sparse", "minidl.dtypes", "minidl.random"),
    ("minidl.ops",),
    ("minidl._tensor", "minidl._apply", "minidl._walk", "minidl._inplace"),
    ("minidl.functional", "minidl.linalg"),
    ("minidl.autograd",),
    ("minidl.testing", "minidl._capture"),
    ("minidl.nn", "minidl.optim"),
    ("minidl.func", "minidl.quantize"),
    ("minidl.io",),
    ("minidl.data", "minidl.onnx", "minidl.train", "minidl.utils"),
    ("minidl.profiler",),
    ("minidl.describe", "minidl.doctor", "minidl.warmup", "minidl.__main__"),
    ("ecommerce",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

PEERS = {"torch", "jax", "scipy", "sklearn", "tensorflow", "implicit"}
EXTRAS = {"pandas", "pyarrow", "tqdm", "matplotlib", "jinja2", "onnx", "onnxruntime"}
HEAVY = EXTRAS | {"numba", "llvmlite", "safetensors"}


FILES = [path for name in ("minidl", "ecommerce") for path in sorted((ROOT / name).rglob("*.py"))]


def imports(path, everywhere=True):
    """(module, names) of the imports of a file; everywhere=False: only those run at import."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    package = module.removesuffix(".__init__") if path.name == "__init__.py" else module
    package = package if path.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree)) if everywhere else list(top_level(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ()
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *filter(None, [base])])
            yield base, tuple(alias.name for alias in node.names)


def top_level(tree):
    """Statements that run at import, without the blocks of TYPE_CHECKING."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        yield node
        waiting += list(ast.iter_child_nodes(node))


def layer(module):
    """The level of a module of ours, None for others."""
    parts = module.split(".")
    for size in range(len(parts), 0, -1):
        if ".".join(parts[:size]) in LEVEL:
            return LEVEL[".".join(parts[:size])]
    return None


def test_imports_point_down():
    wrong = []
    for path in FILES:
        own = layer(".".join(path.relative_to(ROOT).with_suffix("").parts))
        if own is None:  # minidl/__init__.py and the like gather what is below
            continue
        for module, names in imports(path, everywhere=False):
            for target in [module, *(f"{module}.{name}" for name in names)]:
                level = layer(target)
                if level is not None and level > own:
                    wrong.append(f"{path.relative_to(ROOT)} imports {target}, which is above it")
    assert not wrong


def test_no_peer_is_imported_at_run_time():
    wrong = []
    for path in FILES:
        roots = {module.split(".")[0] for module, _ in imports(path)}
        banned = PEERS | ({"ecommerce"} if path.is_relative_to(ROOT / "minidl") else set())
        wrong += [f"{path.relative_to(ROOT)} imports {name}" for name in roots & banned]
    assert not wrong


def test_heavy_packages_are_loaded_inside_functions():
    wrong = []
    for path in FILES:
        roots = {module.split(".")[0] for module, _ in imports(path, everywhere=False)}
        wrong += [f"{path.relative_to(ROOT)} imports {name}" for name in roots & HEAVY]
    assert not wrong


def test_ecommerce_uses_only_public_names_of_minidl():
    for path in sorted((ROOT / "ecommerce").rglob("*.py")):
        for module, names in imports(path):
            if module.split(".")[0] == "minidl":
                private = [n for n in (*module.split("."), *names) if n.startswith("_")]
                assert not private, f"{path.name} imports {module} {names}"


@pytest.mark.parametrize("module", ["minidl", "minidl.nn", "minidl.optim", "ecommerce"])
def test_importing_loads_neither_numba_nor_pandas(module):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert not {m.split(".")[0] for m in loaded} & (HEAVY | PEERS | {"threadpoolctl"})
    # these two take a fifth and a tenth of NumPy's own time
    assert module != "minidl" or not {"numpy.random", "numpy.typing"} & set(loaded)


# The cache of compiled kernels holds machine code, in a folder of the user's own; Numba gives and
# takes it as pickled objects only. Nothing that a user loads (weights, models, data) comes near it.
MAY_UNPICKLE = {ROOT / "minidl" / "kernels" / "_cache.py"}


def test_nothing_that_is_loaded_is_unpickled():
    wrong = []
    for path in set(FILES) - MAY_UNPICKLE:
        roots = {module.split(".")[0] for module, _ in imports(path)}
        pickles = roots & {"pickle", "shelve", "joblib", "dill"}
        if pickles or "allow_pickle=True" in path.read_text():
            wrong.append(path)
    assert not wrong
