"""Found first by the children of ``python -m oxloop --children``: they are on oxloop, too.

The folder is in their PYTHONPATH. Nothing is imported before the program imports asyncio, and an
interpreter that has no oxloop, of another environment, goes on without. The ``sitecustomize`` that
this one hides runs as well.
"""

import importlib
import importlib.util
import os
import sys

ASKED = "OXLOOP_CHILDREN"


class WaitForAsyncio:
    """A finder that finds nothing itself, but notices asyncio, and uvloop where that is asked."""

    def __init__(self, as_uvloop):
        self.as_uvloop = as_uvloop

    def find_spec(self, name, path=None, target=None):
        if name == "uvloop" and self.as_uvloop:
            importlib.import_module("asyncio")
            # The stand-in is there now, unless the import of oxloop failed.
            return getattr(sys.modules.get(name), "__spec__", None)
        if name != "asyncio":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = ThenOxloop(spec.loader, self.as_uvloop)
        return spec


class ThenOxloop:
    """asyncio's own loader, and oxloop right after it."""

    def __init__(self, loader, as_uvloop):
        self.loader = loader
        self.as_uvloop = as_uvloop

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        take_over(self.as_uvloop)


def take_over(stand_in):
    try:
        from oxloop import _everywhere, as_uvloop
    except ImportError:
        return
    _everywhere.take_over()
    if stand_in:
        as_uvloop()
    else:
        _everywhere.notice_uvloop()


def run_hidden_one():
    """Import the ``sitecustomize`` that would have been found without this folder."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    ours = sys.modules.pop(__name__)
    try:
        importlib.import_module("sitecustomize")
    except ImportError as exc:
        if exc.name != "sitecustomize":
            raise
    finally:
        # The import system looks for us under our name when we are done.
        sys.modules.setdefault(__name__, ours)


run_hidden_one()
if ASKED in os.environ:
    STAND_IN = os.environ[ASKED] == "uvloop"
    if "asyncio" in sys.modules:
        take_over(STAND_IN)
    else:
        sys.meta_path.insert(0, WaitForAsyncio(STAND_IN))
