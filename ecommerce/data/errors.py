"""The one error of this package, and the check of whole numbers."""

from typing import Any

import numpy as np


class DataError(ValueError):
    """Data that cannot be used as it is.

    The message is one line: what was wrong (with file and line where there is one), the rule, and
    the fix. It is a ValueError, so ``except ValueError`` catches it too.
    """


def require_whole(where: str, least: int, **values: Any) -> None:
    """DataError for a value that is no whole number, or below `least`."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise DataError(f"{where}: {name}={value!r}; give a whole number, {least} or more")
