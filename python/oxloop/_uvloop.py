"""The stand-in: a module named ``uvloop`` that is oxloop, for programs that know no other name.

It exists only where somebody asks for it, never takes the place of the real one, and says what it
is wherever it is shown.
"""

import asyncio
import importlib.machinery
import sys
import types

from . import _oxloop
from ._loop import EventLoop
from ._run import install, new_event_loop

NAME = "uvloop"
# The release whose public names these are.
VERSION = "0.23.0"


class StandIn(types.ModuleType):
    """A module that answers to another's name and owns up to it."""

    def __repr__(self):
        return f"<module {self.__name__!r}: oxloop {_oxloop.__version__} stands in for it>"

    def __getattr__(self, name):
        if name == "EventLoopPolicy":
            from ._policy import EventLoopPolicy

            return EventLoopPolicy
        raise AttributeError(f"oxloop's stand-in for {self.__name__} has no attribute {name!r}")


class Loader:
    """What the specs of the stand-ins point to: an import finds the module as it is."""

    def __init__(self, module):
        self.module = module

    def create_module(self, spec):
        return self.module

    def exec_module(self, module):
        """It is complete."""


def run(main, *, loop_factory=new_event_loop, debug=None):
    """Run the coroutine *main* as ``asyncio.run`` does, on oxloop unless *loop_factory* says else.

    Raises ``RuntimeError`` if a loop is running in this thread.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("uvloop.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)


def as_uvloop():
    """Let ``import uvloop`` give a module that is oxloop, in this process and in those it forks.

    For programs that know uvloop by name and take no other loop. Call it before anything imports
    uvloop; calling it again changes nothing. The module has uvloop's public names
    (``new_event_loop``, ``install``, ``run``, ``Loop``, ``EventLoopPolicy``, ``__version__``), and
    its ``repr()`` says that it is oxloop. ``import oxloop`` alone never does this.

    Returns the module. Raises ``RuntimeError`` if the real uvloop is imported already.
    """
    present = sys.modules.get(NAME)
    if isinstance(present, StandIn):
        return present
    if present is not None:
        raise RuntimeError(
            "the real uvloop is imported already: call oxloop.as_uvloop() before anything "
            "imports it, or start the program by `python -m oxloop --as-uvloop`"
        )
    package = _register(NAME, is_package=True)
    package.__version__ = VERSION
    package.__all__ = ("new_event_loop", "run", "install", "EventLoopPolicy")
    package.new_event_loop = new_event_loop
    package.install = install
    package.run = run
    package.loop = _register(f"{NAME}.loop")
    package.Loop = package.loop.Loop = EventLoop
    return package


def _register(name, is_package=False):
    module = StandIn(name, f"oxloop under the name of {name}, see oxloop.as_uvloop().")
    spec = importlib.machinery.ModuleSpec(
        name, Loader(module), origin="oxloop", is_package=is_package
    )
    module.__spec__, module.__loader__ = spec, spec.loader
    module.__package__ = spec.parent
    if is_package:
        module.__path__ = spec.submodule_search_locations
    sys.modules[name] = module
    return module
