"""Every way to asyncio's default loop leads to oxloop: for whole programs that are not changed.

``python -m oxloop``, the child interpreters it is asked for, and ``pytest --oxloop`` come here. A
program that names a loop of somebody else's keeps its choice.
"""

import asyncio
import importlib.machinery
import sys
import warnings

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


class NoticeUvloop:
    """A finder that finds nothing, but warns when the program imports the real uvloop.

    Servers prefer that where it is installed: asked for a program on oxloop, nobody would see that
    it is not.
    """

    def find_spec(self, name, path=None, target=None):
        if name == "uvloop":
            sys.meta_path.remove(self)
            if importlib.machinery.PathFinder.find_spec(name, path) is not None:
                warnings.warn(
                    "this program imports uvloop and may run on it, not on oxloop: start it by "
                    "`python -m oxloop --as-uvloop`, and uvloop's name gives it oxloop",
                    RuntimeWarning,
                    stacklevel=2,
                )


def notice_uvloop():
    """Warn if the program imports uvloop, of which it was not asked to be given a stand-in."""
    sys.meta_path.insert(0, NoticeUvloop())
