"""Lets a signal end a command as cleanly as Ctrl-C does."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def ended_by(*signals: signal.Signals) -> Iterator[None]:
    """Raise `KeyboardInterrupt` for each of them, unless it is ignored, as SIGHUP is under `nohup`."""
    with _handled(signals, signal.default_int_handler):
        yield


@contextmanager
def end_noted(*signals: signal.Signals) -> Iterator[threading.Event]:
    """Give what each of them sets, for work that none may cut off. One that is ignored stays so."""
    ended = threading.Event()
    with _handled(signals, lambda *_: ended.set()):
        yield ended


@contextmanager
def _handled(signals: tuple[signal.Signals, ...], handle: Callable[..., object]) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in signals}
    heard = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    for number in heard:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])
