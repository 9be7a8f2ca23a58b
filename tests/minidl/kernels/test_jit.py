"""The decorator: what is lazy, what is cached, what an edit invalidates, what never raises."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minidl import kernels

ROOT = Path(__file__).parents[3]
needs_numba = pytest.mark.skipif(not kernels.ENABLED, reason="MINIDL_JIT=0: nothing is compiled")

MODULE = """
import numpy as np
from minidl.kernels import helper, kernel, piece, prange
from {helpers} import double

SHIFT = {shift}

def scale_ref(x, y):
    y[:] = {reference}

@kernel(reference=scale_ref)
def scale(x, y):
    for i in range(x.size):
        y[i] = double(x[i]) + SHIFT
"""
HELPERS = """
from minidl.kernels import helper

@helper
def double(x):
    return x * {factor}
"""
CALL = """
import numpy as np, sys
assert "numba" not in sys.modules
import shop_kernels
assert "numba" not in sys.modules
y = np.empty(3); shop_kernels.scale(np.ones(3), y); print(y[0])
"""


@pytest.fixture
def place(tmp_path):
    """A module with a kernel and another with its helper, outside minidl, and a cache folder."""

    class Place:
        folder = tmp_path
        cache = tmp_path / "cache"

        def write(self, factor=2.0, shift=0.0, reference="2 * x"):
            (tmp_path / "shop_kernels.py").write_text(
                MODULE.format(helpers="shop_helpers", shift=shift, reference=reference)
            )
            (tmp_path / "shop_helpers.py").write_text(HELPERS.format(factor=factor))

        def start(self, code=CALL, **environ):
            env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
            env |= {"MINIDL_CACHE_DIR": str(self.cache), "PYTHONDONTWRITEBYTECODE": "1", **environ}
            return subprocess.Popen(
                [sys.executable, "-c", code],
                env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )

        def run(self, code=CALL, **environ):
            process = self.start(code, **environ)
            out, self.stderr = process.communicate(timeout=120)
            assert process.returncode == 0, self.stderr
            return out.strip()

        def files(self):
            return {p: p.stat().st_mtime_ns for p in self.cache.rglob("*.bin")}

    made = Place()
    made.write()
    return made


@needs_numba
def test_second_process_loads_what_the_first_compiled(place):
    assert place.run() == "2.0"
    files = place.files()
    assert len(files) == 1
    assert place.run() == "2.0"
    assert place.files() == files


@needs_numba
def test_an_edit_of_kernel_helper_or_constant_is_seen(place):
    assert place.run() == "2.0"
    place.write(factor=3.0)  # in another file than the kernel
    assert place.run() == "3.0"
    place.write(factor=3.0, shift=10.0)
    assert place.run() == "13.0"
    place.write()
    assert place.run() == "2.0"


@needs_numba
@pytest.mark.parametrize("damage", ["truncate", "empty", "flip"])
def test_a_damaged_file_is_compiled_anew(place, damage):
    place.run()
    (path,) = place.files()
    content = path.read_bytes()
    middle = len(content) // 2
    damaged = {
        "truncate": content[:middle],
        "empty": b"",
        "flip": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
    }[damage]
    path.write_bytes(damaged)
    assert place.run() == "2.0"
    assert path.read_bytes() != damaged  # it was noticed, and replaced
    assert path.stat().st_size == pytest.approx(len(content), rel=0.1)


@needs_numba
def test_processes_fill_an_empty_cache_at_once(place):
    processes = [place.start() for _ in range(3)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert out.strip() == "2.0"
    assert len(place.files()) == 1
    assert not list(place.cache.rglob("*.part"))


@needs_numba
def test_a_folder_that_cannot_be_written_falls_through(place):
    blocked = place.folder / "file"
    blocked.write_text("not a folder")
    home = place.folder / "home"
    user_cache = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "LOCALAPPDATA": str(home)}
    assert place.run(MINIDL_CACHE_DIR=str(blocked / "x"), **user_cache) == "2.0"
    assert list(home.rglob("*.bin"))
    assert "no folder" not in place.stderr


@needs_numba
def test_no_folder_at_all_warns_once_and_computes(place):
    blocked = place.folder / "file"
    blocked.write_text("not a folder")
    nowhere = str(blocked / "x")
    code = "import tempfile; tempfile.tempdir = " + repr(nowhere) + CALL.replace(
        "print(y[0])", "shop_kernels.scale(np.ones(3, np.float32), y.astype('f')); print(y[0])"
    )
    environ = {"MINIDL_CACHE_DIR": nowhere, "HOME": nowhere, "XDG_CACHE_HOME": nowhere}
    assert place.run(code, **environ) == "2.0"
    assert place.stderr.count("no folder to keep compiled kernels in") == 1
    assert place.run(code, PYTHONWARNINGS="error::RuntimeWarning", **environ) == "2.0"


@needs_numba
@pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX permissions")
def test_a_temp_folder_others_can_write_to_is_not_trusted(place):
    temp = place.folder / "temp"
    shared = temp / f"minidl-{os.getuid()}"
    shared.mkdir(parents=True)
    shared.chmod(0o777)
    nowhere = str(place.folder / "shop_kernels.py" / "x")
    environ = {"MINIDL_CACHE_DIR": nowhere, "XDG_CACHE_HOME": nowhere, "TMPDIR": str(temp)}
    assert place.run(**environ) == "2.0"
    assert not list(shared.rglob("*.bin"))
    assert "no folder" in place.stderr


def test_without_jit_the_name_is_the_reference(place):
    code = CALL
    code += "assert shop_kernels.scale is shop_kernels.scale_ref; assert 'numba' not in sys.modules"
    assert place.run(code, MINIDL_JIT="0") == "2.0"
    assert not place.files()


def test_without_numba_the_name_is_the_reference(place):
    (place.folder / "numba.py").write_text("raise ImportError('for another NumPy')")
    assert place.run() == "2.0"


@needs_numba
def test_compile_message(place):
    slow = "import minidl.kernels._jit as j; j._MESSAGE_AFTER = 0.0\n"
    two = CALL + "shop_kernels.scale(np.ones(3, np.float32), y.astype(np.float32))"
    place.run(slow + two)
    assert place.stderr.count("minidl: compiling scale ...") == 1
    place.run(slow + two)
    assert place.stderr == ""
    place.write(factor=5.0)
    place.run(slow + two, MINIDL_QUIET="1")
    assert place.stderr == ""


@needs_numba
def test_numba_caches_of_others_stay_where_they_are():
    import numba

    kernels.exp_forward(np.ones(3, np.float32), np.empty(3, np.float32))
    assert os.environ.get("NUMBA_CACHE_DIR", "") == numba.config.CACHE_DIR


@needs_numba
def test_read_only_inputs_share_code_and_a_read_only_output_is_refused():
    x = np.linspace(0, 1, 5, dtype=np.float32)
    fixed = x.copy()
    fixed.flags.writeable = False
    y, z = np.empty_like(x), np.empty_like(x)
    kernels.exp_forward(x, y)
    compiled = len(kernels.exp_forward._serial.overloads)
    kernels.exp_forward(fixed, z)
    assert y.tobytes() == z.tobytes()
    assert len(kernels.exp_forward._serial.overloads) == compiled
    with pytest.raises(ValueError, match="read-only"):
        kernels.exp_forward(x, fixed)


def reference(x, y): ...


def test_arguments_must_match_the_reference():
    with pytest.raises(TypeError, match="same arguments"):

        @kernels.kernel(reference=reference)
        def other(x, z): ...


def test_closures_are_refused():
    factor = 2.0
    with pytest.raises(TypeError, match="around it"):

        @kernels.kernel(reference=reference)
        def other(x, y):
            y[:] = factor


def test_unsafe_fastmath_is_refused():
    with pytest.raises(ValueError, match="fastmath"):
        kernels.kernel(reference=reference, fastmath=("nnan",))


PIECES = """
import numpy as np
from minidl.kernels import count_pieces, kernel, piece, piece_bounds, prange

@piece
def part(x, y):
    {comment}
    for i in range(x.size):
        y[i] = {factor} * x[i]

def first_ref(x, y):
    y[:] = {factor} * x

@kernel(reference=first_ref, parallel=True, serial_below=10)
def first(x, y):
    for p in prange(count_pieces(x.size, 4)):
        s, e = piece_bounds(p, 4, x.size)
        part(x[s:e], y[s:e])

@kernel(reference=first_ref)
def second(x, y):
    part(x, y)
"""
CALL_PIECES = """
import numpy as np, sys
import shop_kernels
for n in (5, 50):
    x, y = np.arange(float(n)), np.empty(n)
    for k in (shop_kernels.first, shop_kernels.second):
        y[:] = 0
        k(x, y)
        assert (y == {factor} * x).all(), y
print({what})
"""


@needs_numba
def test_a_piece_is_compiled_once_and_shared(place):
    source = place.folder / "shop_kernels.py"
    loaded = "'numba.np.linalg' in sys.modules"  # what Numba compiles with
    source.write_text(PIECES.format(factor=2, comment=""))
    run = CALL_PIECES.format(factor=2, what=loaded)
    assert place.run(run, MINIDL_NUM_THREADS="2") == "True"
    files = place.files()
    names = sorted(file.name.split("-")[0] for file in files)
    assert names == ["first", "first_threaded", "part_called", "second"]
    assert place.run(run, MINIDL_NUM_THREADS="2") == "False"
    assert place.files() == files
    # a caller without its piece is compiled anew, as is one whose piece another process replaced
    piece = next(file for file in files if file.name.startswith("part_called"))
    content = piece.read_bytes()
    piece.unlink()
    other_names = "import numba; numba.njit(lambda x: x)(1)\n"  # Numba counts what it compiles
    assert place.run(other_names + run, MINIDL_NUM_THREADS="2") == "True"
    piece.write_bytes(content)
    assert place.run(run, MINIDL_NUM_THREADS="2") == "True"
    assert place.run(run, MINIDL_NUM_THREADS="2") == "False"


@needs_numba
def test_the_cache_survives_what_does_not_change_a_kernel(place):
    source = place.folder / "shop_kernels.py"
    source.write_text(PIECES.format(factor=2, comment="'''Once.'''"))
    run = CALL_PIECES.format(factor=2, what="''")
    place.run(run)
    files = place.files()
    later = "'''Twice.'''\n    # a comment, and lines further down"
    source.write_text("# more\n" * 9 + PIECES.format(factor=2, comment=later))
    place.run("import minidl; minidl.__version__ = '99.0'\n" + run)
    assert place.files() == files
    source.write_text(PIECES.format(factor=3, comment=""))
    place.run(CALL_PIECES.format(factor=3, what="''"))
    assert len(place.files()) > len(files)


@needs_numba
def test_another_numba_or_processor_compiles_anew(place):
    place.run()
    newer = "import numba; numba.__version__ = '0.999.0'\nimport sys; del sys.modules['numba']\n"
    faked = newer.replace("del sys.modules['numba']", "kept = sys.modules.pop('numba')")
    faked += "import minidl.kernels._cache as c\nsys.modules['numba'] = kept\n"
    run = faked + CALL.replace('assert "numba" not in sys.modules\n', "")
    assert place.run(run) == "2.0"
    assert len({file.parent for file in place.files()}) == 2
    other_cpu = CALL.replace('assert "numba" not in sys.modules\n', "")
    assert place.run(other_cpu, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == "2.0"
    assert len(place.files()) == 3


@needs_numba
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_is_read(place):
    place.run()
    files = place.files()
    folder = next(iter(files)).parent
    folder.chmod(0o500)
    assert place.run(XDG_CACHE_HOME=str(place.folder / "home")) == "2.0"
    assert place.files() == files
    assert not list((place.folder / "home").rglob("*.bin"))


@needs_numba
def test_what_older_sources_left_is_removed_in_time(place):
    place.run()
    (old,) = place.files()
    place.write(factor=3.0)
    place.run()
    assert len(place.files()) == 2  # another branch may still want it
    long_ago = old.stat().st_mtime - 60 * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    place.write(factor=4.0)
    place.run()
    assert old not in place.files()
    assert len(place.files()) == 2


@needs_numba
def test_many_quick_kernels_are_announced_too(place):
    slow = "import minidl.kernels._jit as j; j._compiling = 5.0; j._MESSAGE_AFTER = 1e-6\n"
    place.run(slow + CALL)
    assert "minidl: compiling scale ... (once on this machine" in place.stderr


COUNTED = """
import gc, numba.core.codegen as codegen
emitted, finalize = [], codegen.JITCodeLibrary._finalize_specific
def counted(library):
    emitted.append(library.name)
    finalize(library)
codegen.JITCodeLibrary._finalize_specific = counted
"""


@needs_numba
def test_machine_code_is_made_of_kernels_and_pieces_alone(place):
    (place.folder / "shop_kernels.py").write_text(PIECES.format(factor=2, comment=""))
    what = "sorted(set(emitted) & {'first', 'first_threaded', 'part_called', 'second'}), "
    what += "[name for name in emitted if 'gufunc' in name or 'piece' in name], gc.isenabled()"
    run = COUNTED + CALL_PIECES.format(factor=2, what=what)
    made = "['first', 'first_threaded', 'part_called', 'second'] [] True"
    assert place.run(run, MINIDL_NUM_THREADS="2") == made


@needs_numba
def test_a_function_compiled_by_numba_itself_can_still_be_called_from_python(place):
    """A kernel may call a user's njit, whose machine code would have been left out."""
    source = (place.folder / "shop_kernels.py").read_text()
    own = "import numba\n@numba.njit\ndef double(x):\n    return x + x\n"
    source = source.replace("from shop_helpers import double", own)
    (place.folder / "shop_kernels.py").write_text(source)
    call = CALL.replace('assert "numba" not in sys.modules\n', "")
    assert place.run(call + "print(shop_kernels.double(3.0))") == "2.0\n6.0"
