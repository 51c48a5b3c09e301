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
        raise AttributeError(
            f"oxloop's stand-in for {self.__name__} has no attribute {name!r}, only public names: "
            "use asyncio's, or install uvloop and leave --as-uvloop out"
        )


class Importer:
    """Finds the stand-ins as they are, also when somebody reloads them or imports them anew."""

    def __init__(self):
        self.modules = {}

    def find_spec(self, name, path=None, target=None):
        module = self.modules.get(name)
        return None if module is None else module.__spec__

    def create_module(self, spec):
        return self.modules[spec.name]

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
    importer = Importer()
    package = _register(NAME, importer, is_package=True)
    package.__version__ = VERSION
    package.__all__ = ("new_event_loop", "run", "install", "EventLoopPolicy")
    package.new_event_loop = new_event_loop
    package.install = install
    package.run = run
    package.loop = _register(f"{NAME}.loop", importer)
    package.Loop = package.loop.Loop = EventLoop
    sys.meta_path.insert(0, importer)
    return package


def _register(name, importer, is_package=False):
    module = StandIn(name, f"oxloop under the name of {name}, see oxloop.as_uvloop().")
    spec = importlib.machinery.ModuleSpec(name, importer, origin="oxloop", is_package=is_package)
    module.__spec__, module.__loader__ = spec, spec.loader
    module.__package__ = spec.parent
    if is_package:
        module.__path__ = spec.submodule_search_locations
    sys.modules[name] = importer.modules[name] = module
    return module
