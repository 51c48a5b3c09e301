import asyncio
import ssl
import sys
from collections.abc import Coroutine
from selectors import BaseSelector
from types import ModuleType
from typing import Any, Final, TypeVar

from . import _oxloop

_T = TypeVar("_T")

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

__version__: Final[str]

class EventLoop(_oxloop.Loop, asyncio.SelectorEventLoop):
    def __init__(self, selector: BaseSelector | None = None) -> None: ...

class TruncatedError(ssl.SSLEOFError, ConnectionResetError): ...

def new_event_loop() -> EventLoop: ...
def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T: ...
def install() -> None: ...
def as_uvloop() -> ModuleType: ...

if sys.version_info < (3, 16):
    class EventLoopPolicy(asyncio.DefaultEventLoopPolicy): ...
