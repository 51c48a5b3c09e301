"""oxloop: asyncio's event loop with its engine in Rust.

Run a program on it with :func:`run` (as ``asyncio.run``), give :func:`new_event_loop` to whatever
takes a loop factory (``asyncio.Runner``, uvicorn, pytest-asyncio …), or start an unchanged program
by ``python -m oxloop script.py``.
"""

from . import _oxloop
from ._hooks import TruncatedError
from ._loop import EventLoop
from ._run import install, new_event_loop, run
from ._uvloop import as_uvloop

__version__ = _oxloop.__version__

__all__ = [
    "EventLoop",
    "EventLoopPolicy",
    "TruncatedError",
    "__version__",
    "as_uvloop",
    "install",
    "new_event_loop",
    "run",
]


def __getattr__(name):
    # Policies are deprecated since 3.14 and gone in 3.16: nothing of them is touched before
    # somebody asks.
    if name == "EventLoopPolicy":
        from ._policy import EventLoopPolicy

        return EventLoopPolicy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
