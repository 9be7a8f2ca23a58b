"""Files: any nest of tensors, arrays and plain values in one safetensors file, never a pickle.

    minidl.save({"model": model.state_dict(), "epoch": 3}, "run.safetensors")
    model.load_state_dict(minidl.load("run.safetensors")["model"])

The arrays lie in the file under their paths ("model.0.weight"), so other safetensors readers see
them; the nest around them is JSON in the header, with a SHA-256 of everything. Loading runs no code
of the file. A file is written beside its target and renamed over it, so whatever happens the old
one is still whole. `save_safetensors` and `load_safetensors` are for plain dictionaries of tensors,
as torch's safetensors reads and writes them.
"""

from minidl.io.files import write_atomic
from minidl.io.store import FileError, load, load_safetensors, save, save_safetensors

__all__ = ["FileError", "load", "load_safetensors", "save", "save_safetensors", "write_atomic"]
