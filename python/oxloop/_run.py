"""The ways to put a program on the loop."""

import asyncio
import sys

from ._loop import EventLoop


def new_event_loop():
    """Make a new event loop. A loop factory for ``asyncio.Runner`` and its like."""
    return EventLoop()


def run(main, *, debug=None):
    """Run the coroutine *main* on a new loop and return its result, as ``asyncio.run`` does.

    *debug* turns asyncio's debug mode on or off; ``None`` leaves it to ``PYTHONASYNCIODEBUG`` and
    ``-X dev``. Raises ``RuntimeError`` if a loop is running in this thread.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("oxloop.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)


def install():
    """Make oxloop the loop of everything that asks asyncio for a new one.

    Sets the event loop policy, which exists up to Python 3.15; from 3.16 on use a loop factory.
    Call it in the main thread, before loops are made.
    """
    if sys.version_info >= (3, 16):
        raise RuntimeError(
            "event loop policies are gone since Python 3.16: pass "
            "loop_factory=oxloop.new_event_loop to asyncio.run or asyncio.Runner"
        )
    from . import _hooks
    from ._policy import EventLoopPolicy

    _hooks.set_event_loop_policy(EventLoopPolicy())
