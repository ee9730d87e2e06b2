"""Lets a signal end a command as cleanly as Ctrl-C does."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ended_by(*signals: signal.Signals) -> Iterator[None]:
    """Raise `KeyboardInterrupt` for each of them, unless it is ignored, as SIGHUP is under `nohup`."""
    before = {number: signal.getsignal(number) for number in signals}
    heard = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    for number in heard:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])
