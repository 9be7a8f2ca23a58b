"""Files: every value, layout and dtype comes back; anything else is one clear error."""

import io as python_io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from contextlib import suppress

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import minidl
from minidl import nn
from minidl.io import FileError, load, load_safetensors, save, save_safetensors, write_atomic

DTYPES = ["?", "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
MANY = settings(max_examples=150, deadline=None)


def same(a, b):
    """Equal in type, dtype, shape and every bit."""
    if isinstance(a, minidl.Tensor):
        return (
            type(a) is type(b)
            and a.requires_grad == b.requires_grad
            and same(a.detach().array, b.detach().array)
        )
    if isinstance(a, (np.ndarray, np.generic)):
        return (
            type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape
            and a.tobytes() == b.tobytes()
        )  # fmt: skip
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or a != a)


def in_memory(nest):
    """A file object with `nest`: fsync on a busy disk is slow."""
    buffer = python_io.BytesIO()
    save(nest, buffer)
    buffer.seek(0)
    return buffer


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def layouts(array):
    yield "C", array
    yield "F", np.asfortranarray(array)
    yield "strided", np.repeat(array, 2, axis=-1)[..., ::2]
    yield "reversed", array[::-1]
    yield "transposed", array.T
    yield "broadcast", np.broadcast_to(array[:1], array.shape)
    yield "swapped bytes", array.astype(array.dtype.newbyteorder(">"))
    read_only = array.copy()
    read_only.setflags(write=False)
    yield "read-only", read_only


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_in_every_layout(path, rng, dtype):
    array = (rng.standard_normal((3, 4)) * 50).astype(dtype)
    nest = dict(layouts(array)) | {"0-d": np.array(array[0, 0]), "empty": array[:0].T}
    save(nest, path)
    save_safetensors(nest, path.with_name("plain"))
    found, plain = load(path), load_safetensors(path.with_name("plain"))
    for name, value in nest.items():
        for got in (found[name], plain[name].array):
            assert got.dtype == np.dtype(dtype), name
            assert got.shape == value.shape, name
            assert np.array_equal(got, value), name
            assert got.flags.writeable
            assert got.flags.c_contiguous


def test_every_kind_of_value(path):
    nest = {
        "tensor": minidl.tensor([1.5, 2.5]),
        "leaf": minidl.tensor([1.0], requires_grad=True),
        "parameter": nn.Parameter(np.ones((2, 2), np.float32)),
        "view": minidl.Tensor(np.arange(6.0).reshape(2, 3).T),
        "scalar": np.float32(0.1), "bool": np.bool_(True), "bytes": b"\x00\xff", "no bytes": b"",
        "numbers": [1, -1.5, 2**130, True, None, float("inf"), -0.0, 1e-320], "nan": float("nan"),
        "text": "Größe 尺寸\n", "tuple": (1, (2, ["x"]), ()), "empty": {},
        "state": {0: {"step": 3}, (1, "a"): None, None: 1, 1.5: 2},
        "$": "a key of ours", "a.b": np.ones(1), "a": {"b": np.zeros(1)},
        "__metadata__": np.ones(2), "rng": minidl.random.get_rng_state(), "dtype": np.dtype("f4"),
    }  # fmt: skip
    save(nest, path)
    assert same(load(path), nest)
    assert same(minidl.load(path, map_location="cpu", weights_only=True), nest)


def test_a_bare_array_and_a_file_object():
    buffer = python_io.BytesIO()
    save(np.arange(3), buffer)
    buffer.seek(0)
    assert same(load(buffer), np.arange(3))


def test_random_states_go_on_where_they_were(path):
    generators = [np.random.Generator(kind(5)) for kind in (np.random.PCG64, np.random.MT19937,
                  np.random.Philox, np.random.SFC64, np.random.PCG64DXSM)]  # fmt: skip
    for generator in generators:
        generator.standard_normal(7)
        generator.integers(0, 5, 1, dtype=np.int32)
    save(generators, path)
    for before, after in zip(generators, load(path)):
        assert np.array_equal(before.integers(0, 99, 50), after.integers(0, 99, 50))


TEXT = st.text(st.characters(codec="utf-8"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT
    | hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, min_side=0, max_side=3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
    | st.tuples(inner, inner) | st.dictionaries(st.integers(), inner, max_size=2),
    max_leaves=8,
)  # fmt: skip


@MANY
@given(values)
def test_any_nest_comes_back(nest):
    assert same(load(in_memory(nest)), nest)


def test_equal_values_are_equal_files(tmp_path, rng):
    nest = {"w": rng.standard_normal(9), "v": rng.standard_normal(4), "n": {"b": np.ones(3)}}
    save(nest, tmp_path / "a")
    save(nest, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_torch_reads_and_writes_the_same_files(tmp_path, rng):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    ours = {"w": minidl.Tensor(rng.standard_normal((3, 4)).astype("f4").T), "n": np.arange(3)}
    save_safetensors(ours, tmp_path / "a", {"made": "here"})
    theirs = load_file(tmp_path / "a")
    assert np.array_equal(theirs["w"].numpy(), ours["w"].array)
    assert np.array_equal(theirs["n"].numpy(), ours["n"])
    made = {
        "w": torch.randn(3, 4), "half": torch.randn(3).half(), "b": torch.randn(5).bfloat16(),
        "flag": torch.tensor([True, False]), "zero": torch.zeros(0, 2), "one": torch.tensor(1.5),
    }  # fmt: skip
    save_file(made, tmp_path / "b")
    for name, value in load_safetensors(tmp_path / "b").items():
        other = made[name].float() if name == "b" else made[name]
        assert np.array_equal(value.array, other.numpy()), name
        assert value.shape == tuple(other.shape)
    save({"w": ours["w"]}, tmp_path / "c")
    assert np.array_equal(load_file(tmp_path / "c")["w"].numpy(), ours["w"].array)


# what is not one of our files


def foreign():
    zipped = python_io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as z:
        z.writestr("archive/data.pkl", "x")
    npy = python_io.BytesIO()
    np.save(npy, np.ones(3))
    yield "torch zip", zipped.getvalue(), "zip archive"
    for protocol in range(2, 6):
        yield f"pickle {protocol}", pickle.dumps({"a": 1}, protocol), "pickle"
    yield "npy", npy.getvalue(), "npy"
    yield "gzip", b"\x1f\x8b\x08\x00", "gzip"
    yield "empty", b"", "0 bytes"
    yield "text", b"hello, this is text", "not a safetensors file"


@pytest.mark.parametrize("kind", list(foreign()), ids=lambda kind: kind[0])
def test_foreign_files_are_named(path, kind):
    _, data, words = kind
    path.write_bytes(data)
    for read in (load, load_safetensors):
        with pytest.raises(FileError, match=words) as error:
            read(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_a_header_that_begins_as_a_pickle_is_read(path):
    for size in range(400, 700):  # somewhere here the header is 640 = b"\x80\x02" long
        buffer = python_io.BytesIO()
        save_safetensors({"w": np.ones(2)}, buffer, {"text": "x" * size})
        if buffer.getvalue()[:2] == b"\x80\x02":
            path.write_bytes(buffer.getvalue())
            assert load_safetensors(path)["w"].tolist() == [1, 1]
            return
    raise AssertionError("no header of 640 bytes was made")


def test_plain_safetensors_is_not_one_of_ours(path):
    save_safetensors({"w": np.ones(2)}, path)
    with pytest.raises(FileError, match="load_safetensors"):
        load(path)


def repack(path, change):
    """Our file with its note changed, as somebody might by hand."""
    from safetensors import safe_open
    from safetensors.numpy import save as pack

    with safe_open(path, framework="np") as file:
        note = json.loads(file.metadata()["minidl"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(note, arrays)
    path.write_bytes(pack(arrays, {"minidl": json.dumps(note)}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda note, arrays: note.update(version=2), "version '2'"),
        (lambda note, arrays: arrays["w"].__setitem__(0, 5), "altered or damaged"),
        (lambda note, arrays: arrays.update(more=np.ones(1)), "altered or damaged"),
        (lambda note, arrays: arrays.update(w=arrays["w"].reshape(3, 2)), "altered or damaged"),
        (lambda note, arrays: note.update(tree='{"w": 1}'), "altered or damaged"),
        (lambda note, arrays: note.pop("sha256"), "header is damaged"),
        (lambda note, arrays: note.update(tree=7), "header is damaged"),
    ],
)
def test_altered_files(path, change, words):
    save({"w": np.zeros((2, 3))}, path)
    repack(path, change)
    with pytest.raises(FileError, match=words):
        load(path)


def test_truncated_at_every_byte(path):
    save({"w": np.arange(5), "name": "x"}, path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(FileError):
            load(path)


@MANY
@given(st.data())
def test_flipped_bits_never_pass_and_never_crash(data):
    nest = {"w": np.arange(6.0).reshape(2, 3), "b": [True, (1, None)], "m": np.array([True, False])}
    whole = bytearray(in_memory(nest).getvalue())
    for place in data.draw(st.lists(st.integers(0, len(whole) * 8 - 1), min_size=1, max_size=4)):
        whole[place // 8] ^= 1 << place % 8
    with suppress(FileError):  # no error: two flips of one bit, or of white space in the header
        assert same(load(python_io.BytesIO(whole)), nest)
    with suppress(FileError):
        load_safetensors(python_io.BytesIO(whole))


@MANY
@given(st.binary(max_size=200), st.booleans())
def test_random_bytes(data, framed):
    if framed:  # a length and a brace, so that the header's reader sees the rest
        data = (len(data) + 1).to_bytes(8, "little") + b"{" + data
    for read in (load, load_safetensors):
        with suppress(FileError):
            read(python_io.BytesIO(data))


huge = st.integers(-(2**65), 2**65) | st.integers(0, 40) | st.floats() | st.none() | st.text()
entry = st.fixed_dictionaries(
    {"dtype": st.sampled_from(["F32", "BF16", "BOOL", "I64", "F8_E4M3", "C64", "x"]) | huge,
     "shape": st.lists(huge, max_size=70), "data_offsets": st.lists(huge, max_size=3)}
)  # fmt: skip


@MANY
@example({"__metadata__": None}, b"")
@given(st.dictionaries(st.text(max_size=4) | st.just("__metadata__"), entry | huge, max_size=3),
       st.binary(max_size=40))  # fmt: skip
def test_hostile_headers(header, body):
    text = json.dumps(header).encode()
    data = len(text).to_bytes(8, "little") + text + body
    for read in (load, load_safetensors):
        with suppress(FileError):
            read(python_io.BytesIO(data))


@pytest.mark.parametrize("tree", ["[" * 100_000, '{"$":"tensor"}', '{"$":"x","at":"w"}', "{",
    "9" * 5000, '{"$":"generator","state":{"bit_generator":"os"}}', '{"$":"dict","items":[[[],1]]}',
    '{"$":"generator","state":{"bit_generator":"PCG64"}}', '{"$":["x"],"at":["w"]}',
    '{"$":"parameter","at":"i","grad":true}'])  # fmt: skip
def test_hostile_notes_with_the_right_hash(path, tree):
    from minidl.io.store import _digest, _packed

    arrays = {"w": np.ones(2), "i": np.ones(2, np.int64)}
    note = json.dumps({"version": 1, "sha256": _digest(arrays, tree), "tree": tree})
    path.write_bytes(_packed(arrays, {"minidl": note}))
    with pytest.raises(FileError, match="header is damaged"):
        load(path)


# what cannot be saved, and where


def test_what_cannot_be_saved_is_named(path):
    loop = []
    loop.append(loop)
    for nest, error, words in [
        ({"a": {"b": object()}}, TypeError, "object at a.b"),
        ({"model": nn.Module()}, TypeError, "state_dict"),
        ({"t": np.array(["x"])}, TypeError, "<U1"),
        ({"t": np.array([1j])}, TypeError, "complex"),
        ({"t": np.array([object()])}, TypeError, "object"),
        ({"t": np.longdouble(1)}, TypeError, "longdouble|float128"),
        ({b"k": 1}, TypeError, "keys must be text"),
        ({"k": {1, 2}}, TypeError, "set at k"),
        (loop, ValueError, "hold itself"),
        ("\ud800", ValueError, "half a character"),
    ]:
        with pytest.raises(error, match=words):
            save(nest, path)
    assert not list(path.parent.iterdir())
    for tensors, error in [({"a": 1.0}, TypeError), ({1: np.ones(1)}, TypeError),
                           ({"__metadata__": np.ones(1)}, ValueError)]:  # fmt: skip
        with pytest.raises(error, match="save_safetensors"):
            save_safetensors(tensors, path)
    with pytest.raises(TypeError, match="text for text"):
        save_safetensors({}, path, {"a": 1})


def test_paths_that_do_not_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    for place, error, words in [
        (tmp_path / "no" / "x", FileNotFoundError, "does not exist; make it first"),
        (tmp_path / "file" / "x", FileNotFoundError, "does not exist"),
        (tmp_path, IsADirectoryError, "is a folder"),
        (7, TypeError, "a path or a binary file"),
        ("", ValueError, "is no path"),
        ("a\0b", ValueError, "is no path"),
        (tmp_path / ("x" * 300), OSError, "cannot be written"),
    ]:
        with pytest.raises(error, match=words):
            save(1, place)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path / "gone")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(ValueError, match="unpickle"):
        load(tmp_path / "file", weights_only=False)
    with pytest.raises(ValueError, match="'cuda'"):
        load(tmp_path / "file", map_location="cuda")

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError, match="cannot be written: Permission denied; choose"):
        save(1, tmp_path / "x")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_the_old_file_survives_a_failure(path, monkeypatch, broken):
    save("old", path)

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="No space left on device; choose a folder"):
        save("new", path)
    monkeypatch.undo()
    assert load(path) == "old"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_what_killed_processes_left_is_found(tmp_path):
    from minidl.io.files import leftovers

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for pid in (gone.pid, os.getpid(), 1, "x"):
        (tmp_path / f".run.{pid}.abc.tmp").write_text("half")
    (tmp_path / ".other.1.abc.tmp").write_text("")
    assert [p.name for p in leftovers(tmp_path / "run")] == [f".run.{gone.pid}.abc.tmp"]
    assert list(leftovers(tmp_path / "none" / "run")) == []


def test_a_link_stays_a_link(tmp_path):
    write_atomic(tmp_path / "real", b"1")
    (tmp_path / "link").symlink_to("real")
    write_atomic(tmp_path / "link", b"2")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"2"
