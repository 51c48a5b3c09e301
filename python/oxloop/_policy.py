"""The event loop policy, for Python < 3.16."""

from . import _hooks
from ._loop import EventLoop


class EventLoopPolicy(_hooks.DefaultEventLoopPolicy):
    """asyncio's default policy with oxloop's loops."""

    _loop_factory = EventLoop
