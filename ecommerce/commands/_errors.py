"""What a command may say no with, and the exit code that goes with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

DONE, MISSED, USAGE, BAD_DATA, INTERRUPTED, BUG = 0, 1, 2, 3, 130, 70


class UsageError(Exception):
    """The command line or its config file asks for something that is not there."""


class BadData(Exception):
    """A file, an id or a model that cannot be used."""


def nearest(name: str, known: Iterable[str]) -> str:
    """"; did you mean 'ndcg'? (ndcg, recall, ...)", for the end of an error."""
    names = list(known)
    by_lower = {each.lower(): each for each in names}
    close = get_close_matches(name.lower(), by_lower, 1, 0.5)
    hint = f"did you mean {by_lower[close[0]]!r}? " if close else ""
    return f"; {hint}known: {', '.join(names)}"


def one_line(error: BaseException) -> str:
    """An exception's message as one line."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def usage(what: str) -> Iterator[None]:
    """Errors about arguments inside become usage errors that start with `what`."""
    try:
        yield
    except (TypeError, ValueError, KeyError) as error:
        raise UsageError(f"{what}: {one_line(error)}") from error


@contextmanager
def bad_data(what: str = "") -> Iterator[None]:
    """Errors about content inside become data errors."""
    try:
        yield
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise BadData(f"{what}: {one_line(error)}" if what else one_line(error)) from error
