"""The thread budget; forked children and foreign threads; a product beside a parallel kernel."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from minidl import kernels
from minidl.kernels import _threads
from minidl.ops._product import product

ROOT = Path(__file__).parents[3]
needs_numba = pytest.mark.skipif(not kernels.ENABLED, reason="MINIDL_JIT=0: nothing is threaded")


def run(code, **environ):
    """Run code in a new process; its stdout."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def same_budget_afterwards():
    before = kernels.get_num_threads()
    yield
    kernels.set_num_threads(before)


def test_blas_has_one_thread_beside_the_kernels():
    from threadpoolctl import threadpool_info

    product(np.ones((300, 300)), np.ones((300, 300)))
    kernels.set_num_threads(2)
    assert kernels.get_num_threads() == 2
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert 1 in {pool["num_threads"] for pool in pools if "scipy." not in pool["filepath"]}


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "2"])
def test_budget_must_be_a_whole_number(bad):
    with pytest.raises(ValueError, match="whole number above 0"):
        kernels.set_num_threads(bad)


def test_default_budget():
    read = _threads._default_budget
    assert read({"MINIDL_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}) == 3
    assert read({"OMP_NUM_THREADS": "4,2"}) == 4
    assert read({}) >= 1
    with pytest.raises(ValueError, match="MINIDL_NUM_THREADS"):
        read({"MINIDL_NUM_THREADS": "many"})


LARGE = """
import os, threading
import numpy as np
from minidl import kernels
kernels.set_num_threads(2)
x = np.linspace(-5, 5, 300_000, dtype=np.float32)
first = np.empty_like(x)
kernels.exp_forward(x, first)
"""


@needs_numba
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forked_child_computes_without_threads():
    code = LARGE + """
child = os.fork()
if child == 0:
    again = np.empty_like(x)
    kernels.exp_forward(x, again)
    os._exit(0 if again.tobytes() == first.tobytes() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(code) == "0"


@needs_numba
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_python_threads_may_call_kernels_at_once(layer):
    code = LARGE + """
good = []
def work():
    y = np.empty_like(x)
    for _ in range(30):
        kernels.exp_forward(x, y)
    good.append(y.tobytes() == first.tobytes())
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for _ in range(30): kernels.exp_forward(x, first)
for t in threads: t.join()
import numba
print(all(good), len(good), numba.threading_layer())
"""
    assert run(code, NUMBA_THREADING_LAYER=layer) == f"True 4 {layer}"


@needs_numba
def test_first_call_from_two_threads():
    code = """
import threading, numpy as np
from minidl import kernels
x = np.ones(10, np.float32); out = []
def work():
    y = np.empty_like(x); kernels.exp_forward(x, y); out.append(y[0])
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
print(len(out), np.allclose(out, np.e))
"""
    assert run(code) == "4 True"


PAIR = """
import time, numpy as np
from minidl import kernels
from minidl.ops._product import product as multiply
rng = np.random.default_rng(0)
a = rng.standard_normal((1024, 256)).astype(np.float32)
b = rng.standard_normal((256, 256)).astype(np.float32)
y, z = np.empty((1024, 256), np.float32), np.empty(1024 * 256, np.float32)
def product(): multiply(a, b, y)
def kernel(): kernels.gelu_forward(y.reshape(-1), z)
def both(): product(); kernel()
def seconds(f):
    best = 1e9
    for _ in range(30):
        t = time.perf_counter(); f(); best = min(best, time.perf_counter() - t)
    return best
both()
ratios = []
for _ in range(5):
    ratios.append(seconds(both) / (seconds(product) + seconds(kernel)))
print(min(ratios))
"""


FIRST_CALL = """
import os, sys
import numpy as np
from minidl.kernels import exp_forward
class Spy:
    def find_spec(self, name, path=None, target=None):
        if name == "numba":
            print(os.environ.get("GOMP_SPINCOUNT"))
sys.meta_path.insert(0, Spy())
x = np.ones(1_000_000, np.float32)
exp_forward(x, x)
"""


@needs_numba
@pytest.mark.parametrize(
    ("given", "told"),
    [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_workers_are_told_how_long_to_wait_before_the_pool_opens(given, told):
    """Whatever the first kernel of the process is; libgomp looks at its settings only once."""
    policies = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environ = {k: v for k, v in os.environ.items() if k not in policies}
    env = {**environ, "PYTHONPATH": str(ROOT), **given}
    done = subprocess.run(
        [sys.executable, "-c", FIRST_CALL], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == [told], done.stderr


@needs_numba
def test_product_and_kernel_do_not_starve_each_other():
    ratio = float(run(PAIR))
    assert ratio <= 1.5, f"a product and a kernel take {ratio:.2f} times the sum of the two"


def test_workqueue_is_refused_outside_the_main_thread(monkeypatch):
    """Two Python threads inside workqueue abort the process."""
    if not kernels.ENABLED:
        pytest.skip("MINIDL_JIT=0: nothing is threaded")
    import numba

    monkeypatch.setattr(numba, "threading_layer", lambda: "workqueue")
    kernels.set_num_threads(2)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(_threads.may_start_threads()))
    thread.start()
    thread.join()
    assert answers == [False]


@needs_numba
def test_call_costs_little_more_than_the_dispatcher():
    x = np.ones(4, np.float32)
    y = np.empty_like(x)
    kernels.exp_forward(x, y)
    kernel = kernels.exp_forward

    def seconds(call):
        best = 1e9
        for _ in range(20):
            start = time.perf_counter()
            for _ in range(2_000):
                call(x, y)
            best = min(best, (time.perf_counter() - start) / 2_000)
        return best

    extra = min(seconds(kernel) - seconds(kernel._serial) for _ in range(3))
    assert extra < 0.4e-6  # 0.12–0.2 µs on a quiet machine
