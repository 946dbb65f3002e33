"""SIGTERM, which batch systems send, as an interruption."""

import contextlib
import signal
import threading
from collections.abc import Iterator


class Terminated(KeyboardInterrupt):
    """SIGTERM, handled as Ctrl-C, with an exit code of its own."""


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Within the context SIGTERM raises `Terminated`, unless the parent process had the signal ignored."""

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    in_main_thread = threading.current_thread() is threading.main_thread()  # signals can be set there only
    if not in_main_thread or signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
