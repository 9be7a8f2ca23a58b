"""Nests of values, and plain dictionaries of tensors, as safetensors files.

`save` puts each array under its path ("model.0.weight"), and in one entry of the header's metadata
the nest around them as JSON with a SHA-256 of everything.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.functional.creation import check_device
from minidl.io.files import read_bytes, write_atomic
from minidl.io.tree import Arrays, contiguous, decode, encode
from minidl.typing import Array

VERSION = 1
_NOTE = "minidl"  # the key of our one entry in the header's __metadata__

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "U64": "<u8",
    "I32": "<i4", "U32": "<u4", "I16": "<i2", "U16": "<u2", "I8": "i1", "U8": "u1", "BOOL": "?",
}  # fmt: skip

_STRANGERS = (  # formats that people are likely to hand in, by their first bytes
    (b"PK\x03\x04", "a zip archive, as torch.save and numpy.savez write"),
    (b"\x93NUMPY", "an .npy array; read it with numpy.load and save it again"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    *((bytes((0x80, n)), "a Python pickle, as old torch.save and pickle write") for n in range(6)),
)


class FileError(ValueError):
    """A file that is not what it should be: foreign, cut short, altered, or of another version."""


def save(obj: Any, f: Any) -> None:
    """Write `obj` to the path (or binary file object) `f`.

    Dictionaries, lists and tuples, to any practical depth, of Tensors, arrays, numpy Generators,
    numbers, strings, bytes and None. Raises TypeError, naming the place, for anything else.
    """
    arrays: Arrays = {}
    tree = json.dumps(encode(obj, arrays), separators=(",", ":"))
    digest = _digest(arrays, tree)
    note = json.dumps({"version": VERSION, "sha256": digest, "tree": tree})
    write_atomic(f, _packed(arrays, {_NOTE: note}))


def load(f: Any, map_location: Any = None, *, weights_only: bool = True) -> Any:
    """What `save` wrote to the path (or binary file object) `f`; arrays are new and writable.

    Raises FileNotFoundError where there is no file, FileError where it is not one of `save`'s, was
    cut short or altered. map_location can only be "cpu", weights_only only True, as in torch's
    calls: nothing is ever unpickled.
    """
    check_device(map_location)
    if not weights_only:
        raise ValueError("load: weights_only=False asks to unpickle, which minidl never does")
    name, data = read_bytes(f)
    arrays, metadata = _unpacked(name, data)
    if _NOTE not in metadata:
        raise FileError(
            f"{name}: a safetensors file, but not one of minidl.save; "
            "read it with minidl.io.load_safetensors"
        )
    try:
        note = json.loads(metadata[_NOTE])
        version, digest, tree = note["version"], note["sha256"], note["tree"]
        if version != VERSION:
            raise FileError(
                f"{name}: format version {str(version)[:20]!r}, this minidl reads {VERSION}; "
                "load it with the minidl that wrote it"
            )
        if digest != _digest(arrays, tree):
            raise FileError(
                f"{name}: the content does not fit its hash, so it was altered or damaged; "
                "restore a copy or save it again"
            )
        return decode(json.loads(tree), arrays)
    except FileError:
        raise
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise FileError(f"{name}: the note in its header is damaged ({_short(error)})") from None


def save_safetensors(
    tensors: Mapping[str, Any], f: Any, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a dictionary of Tensors or arrays as a plain safetensors file, for torch or others."""
    arrays: Arrays = {}
    for name, value in tensors.items():
        array = value.array if isinstance(value, Tensor) else value
        if not isinstance(name, str) or not isinstance(array, (np.ndarray, np.generic)):
            raise TypeError(
                f"save_safetensors: {name!r} is {type(value).__name__}; give names with Tensors "
                "or arrays, such as model.state_dict(), and use minidl.save for anything else"
            )
        if name == "__metadata__":
            raise ValueError("save_safetensors: the format keeps the name '__metadata__' to itself")
        arrays[name] = contiguous(np.asarray(array), name)
    wrong = [k for k, v in (metadata or {}).items() if not (isinstance(k, str) and type(v) is str)]
    if wrong:
        raise TypeError(f"save_safetensors: metadata must be text for text, {wrong[0]!r} is not")
    write_atomic(f, _packed(arrays, dict(metadata or {})))


def load_safetensors(f: Any) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name; bfloat16 comes as float32, which holds it exactly.

    The content of a file of `save` is checked against its hash only by `load`.
    """
    name, data = read_bytes(f)
    return {key: Tensor(array) for key, array in _unpacked(name, data)[0].items()}


# bytes to arrays and back


def _packed(arrays: Arrays, metadata: dict[str, str]) -> bytes:
    from safetensors.numpy import save as pack

    # The library (0.8.0) writes strided and Fortran-ordered arrays in the wrong order and says
    # nothing; `encode` has made every array C-contiguous, and this must stay so.
    assert all(array.flags.c_contiguous for array in arrays.values())
    return pack(arrays, metadata or None)


def _unpacked(name: str, data: bytes) -> tuple[Arrays, dict[str, str]]:
    """The arrays and the metadata of a safetensors file, or FileError for any other bytes."""
    from safetensors import SafetensorError, deserialize

    # A header's length may begin as a pickle does (640 is \x80\x02): the brace behind it decides.
    if data[8:9] != b"{":
        for start, what in _STRANGERS:
            if data.startswith(start):
                raise FileError(
                    f"{name}: {what}, not safetensors. minidl never unpickles; write it as "
                    "safetensors (in torch: safetensors.torch.save_file(state_dict, path))"
                )
        raise FileError(f"{name}: {len(data)} bytes that are not a safetensors file")
    try:
        entries = deserialize(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = header.get("__metadata__") or {}  # the library lets null pass
        found = dict(entries)  # in no fixed order; the header's is the file's
        return {key: _array(found[key]) for key in header if key != "__metadata__"}, metadata
    except (KeyError, MemoryError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise FileError(f"{name}: a damaged safetensors file ({_short(error)})") from None
    except SafetensorError as error:
        raise FileError(
            f"{name}: not a whole safetensors file, cut short or damaged ({_short(error)}); "
            "restore a copy or save it again"
        ) from None


def _array(entry: dict[str, Any]) -> Array:
    code = entry["dtype"]
    if code not in _DTYPES:
        raise ValueError(f"tensors of type {code} are not supported")
    array = np.frombuffer(entry["data"], _DTYPES[code]).reshape(entry["shape"])
    if code == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    if code == "BOOL" and array.size and array.view(np.uint8).max() > 1:
        raise ValueError("a bool that is neither 0 nor 1")
    return array


def _digest(arrays: Arrays, tree: str) -> str:
    state = hashlib.sha256(tree.encode("utf-8", "surrogatepass"))
    for name in sorted(arrays):
        array = arrays[name]
        state.update(f"\n{name} {array.dtype.str} {array.shape} ".encode())
        state.update(array.reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else f"{text[:117]}..."
