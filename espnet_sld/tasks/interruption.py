"""Signals that ask a training to stop after its step: USR1, TERM and the first INT. Standard library only."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)


class StopTraining(Exception):
    """The training stops because it was asked to, and what it has reached is saved; exit with `REQUEUE`."""


class StopRequest:
    """Whether this process was asked to stop.

    Attributes:
        signal: the last signal that asked, None where there was none.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._interrupts = 0

    @property
    def wanted(self) -> bool:
        """True once a signal has asked."""
        return self.signal is not None

    def clear(self) -> None:
        """Forget what was asked."""
        self.signal, self._interrupts = None, 0

    def receive(self, number: int, frame: FrameType | None = None) -> None:
        """The signal handler; a second INT (Ctrl-C twice) does not wait for the step."""
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)


# Signals are the process's, so there is one.
STOP = StopRequest()


@contextlib.contextmanager
def listening() -> Iterator[StopRequest]:
    """Take `SIGNALS` as requests while the block runs; outside the main thread nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield STOP
        return
    STOP.clear()
    before = {number: signal.signal(number, STOP.receive) for number in SIGNALS}
    try:
        yield STOP
    finally:
        for number, handler in before.items():
            # None: it was not set from Python and cannot be set back
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        STOP.clear()


def leave_to_parent(*_: object) -> None:
    """In a data-loader worker: the training process hears the same signals and ends its workers itself."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
