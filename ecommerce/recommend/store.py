"""One file a model: arrays and a JSON note in the safetensors format, with a checked hash.

No pickle: loading a file runs no code of it. Written beside the target and moved there whole, so a
crash leaves the old file as it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = "ecommerce-model"
VERSION = 1

Arrays = dict[str, NDArray[Any]]


def write(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], about: Any) -> None:
    """Write arrays (numbers or bools of any shape) and `about` (JSON values) to one file.

    Raises ValueError where `about` is not JSON, FileNotFoundError where the folder is missing, and
    the OSError of the system where it cannot be written to.
    """
    from safetensors.numpy import save

    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"save: the folder {path.parent} does not exist; make it first")
    if path.is_dir():
        raise IsADirectoryError(f"save: {path} is a folder; give the name of a file in it")
    # The library writes the bytes of a strided or Fortran-ordered array in the wrong order.
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    try:
        text = json.dumps(
            {"format": FORMAT, "version": VERSION, **about}, sort_keys=True, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"save: the model's parameters must be JSON values (numbers, text, lists): {error}"
        ) from None
    # One entry: the library writes several in no fixed order, and equal models are equal files.
    note = json.dumps({"about": text, "sha256": _digest(whole, text)})
    data = save(whole, {"note": note})
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with open(beside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise type(error)(
            f"save: cannot write into {path.parent} ({error.strerror or error}); nothing was "
            "changed there; give another folder, or make room"
        ) from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def read(path: str | os.PathLike[str]) -> tuple[Arrays, dict[str, Any]]:
    """(arrays, about) of a file of `write`.

    Raises FileNotFoundError, or ValueError where the file is cut short, altered, of another kind
    or of a newer version.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"load: there is no file {os.fspath(path)}")
    try:
        with safe_open(path, framework="numpy") as file:
            note = _note_of((file.metadata() or {}).get("note", ""))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise ValueError(
            f"{os.fspath(path)}: not a model file, or cut short ({error}); save the model again"
        ) from None
    about = _note_of(note.get("about", ""))
    if about.get("format") != FORMAT:
        raise ValueError(
            f"{os.fspath(path)}: a safetensors file, but not a saved recommender; "
            "give a file that save() wrote"
        )
    if about.get("version") != VERSION:
        raise ValueError(
            f"{os.fspath(path)}: format version {about.get('version')}, this package reads "
            f"{VERSION}; load it with the package version that wrote it ({about.get('package')})"
        )
    if note.get("sha256") != _digest(arrays, note["about"]):
        raise ValueError(
            f"{os.fspath(path)}: the content does not fit its hash, so the file was altered or "
            "damaged; save the model again or restore a copy"
        )
    return arrays, about


def pack_ids(name: str, ids: NDArray[np.str_]) -> Arrays:
    """A table of ids (V,) as two arrays: their UTF-8 bytes, and where each ends."""
    texts = [text.encode("utf-8", "surrogatepass") for text in ids.tolist()]
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    return {f"{name}.bytes": np.frombuffer(b"".join(texts), np.uint8), f"{name}.ends": ends}


def unpack_ids(name: str, arrays: Arrays) -> NDArray[np.str_]:
    """The table of ids that `pack_ids` took apart."""
    data, ends = arrays[f"{name}.bytes"].tobytes(), arrays[f"{name}.ends"].tolist()
    starts = [0, *ends[:-1]]
    texts = [data[s:e].decode("utf-8", "surrogatepass") for s, e in zip(starts, ends)]
    return np.array(texts, np.str_)


def _digest(arrays: Arrays, text: str) -> str:
    """SHA-256 of the note and of every array with its name, type and shape."""
    state = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        state.update(f"{name} {array.dtype.str} {array.shape}".encode())
        state.update(array.tobytes())
    return state.hexdigest()


def _note_of(text: str) -> dict[str, Any]:
    try:
        note = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return note if isinstance(note, dict) else {}

