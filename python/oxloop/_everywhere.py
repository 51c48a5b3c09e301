"""Every way to asyncio's default loop leads to oxloop: for whole programs that are not changed.

``python -m oxloop``, the child interpreters it is asked for, and ``pytest --oxloop`` come here. A
program that names a loop of somebody else's keeps its choice.
"""

import asyncio
import sys

from . import _hooks
from ._loop import EventLoop
from ._run import install


def take_over():
    """Let asyncio's default loops be oxloop's, in this process and in those it forks.

    That is the policy, the default policies that the program makes itself, and the public names
    of the loop's class, which uvicorn for one takes for the default.
    """
    if sys.version_info < (3, 16):
        install()
        _hooks.DefaultEventLoopPolicy._loop_factory = EventLoop
    for name in ("SelectorEventLoop", "EventLoop"):
        if hasattr(asyncio, name):
            setattr(asyncio, name, EventLoop)
