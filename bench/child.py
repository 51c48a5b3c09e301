"""What the processes that run.py starts have in common."""

import importlib
import signal
from asyncio import AbstractEventLoop
from collections.abc import Callable

LoopFactory = Callable[[], AbstractEventLoop]

#: Seconds that a process may take beyond those it measures.
GRACE = 15


def load_factory(name: str) -> LoopFactory:
    """The loop factory named ``module:attribute``."""
    module, _, attribute = name.partition(":")
    factory: LoopFactory = getattr(importlib.import_module(module), attribute)
    return factory


def limit_lifetime(seconds: float) -> None:
    """Let the kernel end this process some time after its measurement, should run.py not do it."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(seconds) + GRACE)
