"""One file a model: arrays and JSON values, written and checked by `minidl.io`.

Loading a file runs no code of it, and a crash while saving leaves the old file as it was.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import minidl

FORMAT = "ecommerce-model"
VERSION = 1

Arrays = dict[str, NDArray[Any]]


def write(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], about: Any) -> None:
    """Write arrays (numbers or bools of any shape) and `about` (plain values) to one file.

    Raises TypeError for a value that files cannot hold, FileNotFoundError where the folder is
    missing, and the OSError of the system where it cannot be written to.
    """
    minidl.save({"format": FORMAT, "version": VERSION, "about": about, "arrays": arrays}, path)


def read(path: str | os.PathLike[str]) -> tuple[Arrays, dict[str, Any]]:
    """(arrays, about) of a file of `write`.

    Raises FileNotFoundError, or ValueError where the file is cut short, altered, of another kind
    or of a newer version.
    """
    try:
        content = minidl.load(path)
    except minidl.io.FileError as error:
        reason = str(error).removeprefix(f"{os.fspath(path)}: ")
        raise ValueError(
            f"{os.fspath(path)}: not a model file, or cut short or altered ({reason})"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(
            f"{os.fspath(path)}: a file of minidl.save, but not a saved recommender; "
            "give a file that save() of a recommender or a sentiment classifier wrote"
        )
    about = content["about"]
    if content["version"] != VERSION:
        raise ValueError(
            f"{os.fspath(path)}: format version {content['version']}, this package reads "
            f"{VERSION}; load it with the package version that wrote it ({about.get('package')})"
        )
    return content["arrays"], about


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
