"""So that `"cuda" if minidl.cuda.is_available() else "cpu"` gives "cpu"."""

__all__ = ["device_count", "is_available"]


def is_available() -> bool:
    """False: minidl runs on the CPU only."""
    return False


def device_count() -> int:
    """0."""
    return 0
