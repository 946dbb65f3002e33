"""Exceptions that report a user error or missed targets, and how the command line ends on them."""

import difflib
from collections.abc import Iterable

_NEAR = 0.8  # of difflib's ratio; porosity and tortuosity, 0.78, are two quantities


class UserError(ValueError):
    """Wrong input or an impossible request. The message is one line: what was found, what was expected, what to do.

    The command line prints the line on standard error and exits with code 2; any other exception is a bug.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))


class TargetsMissed(Exception):
    """Designs are finished and written, but not all meet their targets. The message is one line that names those.

    The command line prints the line on standard error and exits with code 3.
    """


def perhaps_meant(name: str, known: Iterable[str]) -> str:
    """The known name that is closest to a misspelt one, as a part of a message; empty if none is near.

    >>> perhaps_meant("tortousity.1.Z", ["volume_fraction.0", "tortuosity.1.z"])
    ' (perhaps you meant tortuosity.1.z)'
    """
    plain = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), plain, n=1, cutoff=_NEAR)
    return f" (perhaps you meant {plain[close[0]]})" if close else ""
