"""Exceptions that report a user error or missed targets, and how the command line ends on them."""


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
