"""Errors that a user can put right, and what the command line says about them."""


class UserError(ValueError):
    """Wrong input or an impossible request: one line that names what was wrong, what was expected and what to do.

    The command line prints the line on standard error and exits with code 2; any other exception is a bug.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))


class TargetsMissed(Exception):
    """Designs that are finished and written, not all of which meet their targets: one line that says which.

    The command line prints the line on standard error and exits with code 3.
    """
