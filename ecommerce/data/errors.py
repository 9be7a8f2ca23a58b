"""The one error of this package."""


class DataError(ValueError):
    """Data that cannot be used as it is.

    The message is one line: what was wrong (with file and line where there is one), the rule, and
    the fix. It is a ValueError, so ``except ValueError`` catches it too.
    """
