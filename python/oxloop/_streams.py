"""What asyncio's stream objects become on oxloop's transports.

A reader, its protocol and, on servers, its writer change their class to one of these when they are
found to be asyncio's own, with nothing overridden. The extension module adds the methods that are
native. What is not, and what is unusual, is asyncio's Python, on the same state. When somebody
assigns to a method, of an instance or of asyncio's class, the objects get their old class back.
"""

import collections.abc

from . import _hooks


def _stock(kind):
    """As a class decorator: what shows is asyncio's class, also when it is called."""
    (base,) = kind.__bases__

    def __new__(cls, *args, **kwargs):
        # Their state is made from that of an object that exists.
        return base(*args, **kwargs)

    kind.__new__ = __new__
    kind.__module__ = base.__module__
    kind.__qualname__ = base.__qualname__
    kind.__doc__ = base.__doc__
    return kind


_Reader, _Protocol, _Writer = _hooks.STREAM_CLASSES


@_stock
class StreamReader(_Reader):
    __slots__ = ()


@_stock
class StreamReaderProtocol(_Protocol):
    __slots__ = ()


@_stock
class StreamWriter(_Writer):
    __slots__ = ()


def register_coroutine(kind):
    """What the native methods return is accepted wherever a coroutine is."""
    collections.abc.Coroutine.register(kind)
