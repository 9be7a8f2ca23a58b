"""A nest of values as JSON and a table of arrays: what `minidl.io` puts in a file, and back.

JSON's own values stand for themselves. Everything else is an object with the key "$", which says
what it is:

    {"$": "tensor", "at": "model.0.weight"}     the array of that name, as a Tensor
    {"$": "dict", "items": [[key, value], ...]} a dictionary whose keys are not all plain strings
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.nn.parameter import Parameter
from minidl.typing import Array

Arrays = dict[str, Array]

_DEPTH = 200
_TYPES = {"?", "e", "f", "d", "b", "h", "i", "l", "q", "B", "H", "I", "L", "Q"}  # dtype.char
_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


def encode(obj: Any, arrays: Arrays, path: str = "", depth: int = 0) -> Any:
    """JSON for `obj`; its arrays go C-contiguous into `arrays`, under their paths."""
    if depth > _DEPTH:
        raise ValueError(
            f"save: nested deeper than {_DEPTH} levels, at {path[:60]}...: does it hold itself?"
        )
    if obj is None or type(obj) in (bool, int):
        return obj
    if type(obj) is str:
        return _text(obj)
    if type(obj) is float:
        return obj if math.isfinite(obj) else {"$": "float", "value": str(obj)}
    if isinstance(obj, Tensor):
        kind = "parameter" if isinstance(obj, Parameter) else "tensor"
        note: dict[str, Any] = {"$": kind, "at": _put(obj.array, arrays, path)}
        if obj.requires_grad:
            note["grad"] = True
        return note
    if isinstance(obj, np.ndarray):
        return {"$": "array", "at": _put(obj, arrays, path)}
    if isinstance(obj, np.generic):
        return {"$": "scalar", "at": _put(np.asarray(obj), arrays, path)}
    if isinstance(obj, Mapping):
        return _encode_mapping(obj, arrays, path, depth)
    if type(obj) in (list, tuple):
        values = [encode(v, arrays, _join(path, i), depth + 1) for i, v in enumerate(obj)]
        return values if type(obj) is list else {"$": "tuple", "items": values}
    if isinstance(obj, (bytes, bytearray)):
        return {"$": "bytes", "at": _put(np.frombuffer(obj, np.uint8), arrays, path)}
    if isinstance(obj, np.dtype):
        return {"$": "dtype", "name": obj.name}
    if isinstance(obj, np.random.Generator):
        state = obj.bit_generator.state
        return {"$": "generator", "state": encode(state, arrays, path, depth + 1)}
    where = f" at {path}" if path else ""
    raise TypeError(
        f"save: {type(obj).__name__}{where} cannot be saved: give tensors, arrays, numbers, text, "
        "None, and dictionaries, lists or tuples of them; for a model its state_dict()"
    )


def _encode_mapping(obj: Mapping[Any, Any], arrays: Arrays, path: str, depth: int) -> Any:
    plain = all(type(key) is str for key in obj) and "$" not in obj
    items = []
    for key, value in obj.items():
        if not isinstance(key, (str, int, float, bool, tuple, type(None))):
            raise TypeError(
                f"save: the key {key!r} at {path or 'the top'} is {type(key).__name__}; "
                "keys must be text, numbers or tuples of them"
            )
        note = _text(str(key)) if plain else encode(key, arrays, _join(path, "key"), depth + 1)
        items.append([note, encode(value, arrays, _join(path, key), depth + 1)])
    return dict(items) if plain else {"$": "dict", "items": items}


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"save: {text!r} holds half a character, which no file can") from None
    return text


def _join(path: str, name: Any) -> str:
    return f"{path}.{name}" if path else str(name)


def contiguous(array: Array, path: str) -> Array:
    """The array in C order and this machine's byte order, which is all the library writes well."""
    if array.dtype.char not in _TYPES:
        raise TypeError(
            f"save: {path or 'the array'} is of type {array.dtype}; files hold bool, whole numbers "
            "and float16 to float64"
        )
    return np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)


def _put(array: Array, arrays: Arrays, path: str) -> str:
    name, count = path or "value", 0
    while name in arrays or name == "__metadata__":
        count += 1
        name = f"{path or 'value'}~{count}"
    arrays[_text(name)] = contiguous(array, path)
    return name


def decode(note: Any, arrays: Arrays) -> Any:
    """What `encode` took apart. KeyError, TypeError or ValueError if it is not of its making."""
    if isinstance(note, list):
        return [decode(v, arrays) for v in note]
    if not isinstance(note, dict):
        return note
    if "$" not in note:
        return {key: decode(value, arrays) for key, value in note.items()}
    kind = note["$"]
    if kind == "dict":
        return {decode(key, arrays): decode(value, arrays) for key, value in note["items"]}
    if kind == "tuple":
        return tuple([decode(v, arrays) for v in note["items"]])
    if kind == "float":
        return float(note["value"])
    if kind == "dtype":
        return np.dtype(note["name"])
    if kind == "generator":
        return _generator(decode(note["state"], arrays))
    array = arrays[note["at"]]
    if kind == "tensor":
        return Tensor(array, bool(note.get("grad", False)))
    if kind == "parameter":
        return Parameter(array, bool(note.get("grad", False)))
    if kind == "array":
        return array
    if kind == "scalar":
        return array[()]
    if kind == "bytes":
        return array.tobytes()
    raise ValueError(f"unknown kind {str(kind)[:20]!r}")


def _generator(state: Any) -> np.random.Generator:
    if state["bit_generator"] not in _GENERATORS:
        raise ValueError("an unknown random generator")
    bits = getattr(np.random, state["bit_generator"])()
    bits.state = state
    return np.random.Generator(bits)
