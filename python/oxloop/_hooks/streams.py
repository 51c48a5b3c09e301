"""asyncio's streams: whether they are the ones that can be made native."""

import inspect
from asyncio import Future, streams

from .tasks import Recorder

STREAM_CLASSES = (streams.StreamReader, streams.StreamReaderProtocol, streams.StreamWriter)

#: What a StreamReader keeps in its dict: all that its methods look at.
READER_STATE = {
    "_buffer",
    "_eof",
    "_exception",
    "_limit",
    "_loop",
    "_paused",
    "_transport",
    "_waiter",
}
#: Lazily added to a class by looking at it.
_NOT_ASSIGNED = {"__annotations__", "__annotations_cache__", "__abstractmethods__"}


def _namespaces(kind):
    return {base: dict(vars(base)) for base in kind.__mro__[:-1]}


_STOCK_NAMESPACES = {kind: _namespaces(kind) for kind in STREAM_CLASSES}


class _FutureMaker(Recorder):
    def create_future(self):
        return Future(loop=self)


def fresh_attributes(kind):
    """How many attributes a new reader or protocol has, a server's ``_strong_reader`` aside."""
    loop = _FutureMaker()
    reader = streams.StreamReader(loop=loop)
    if kind is streams.StreamReader:
        return len(vars(reader))
    return len(vars(streams.StreamReaderProtocol(reader, loop=loop)))


def are_streams_known():
    """Whether asyncio's streams are CPython's own, and of a shape that can be made native."""
    for namespaces in _STOCK_NAMESPACES.values():
        for base, names in namespaces.items():
            if base.__module__.partition(".")[0] != "asyncio":
                return False
            for value in names.values():
                if inspect.isfunction(value) and value.__module__ != base.__module__:
                    return False
    return vars(streams.StreamReader(loop=Recorder())).keys() == READER_STATE


def is_stream_class_stock(kind):
    """Whether nobody has replaced or added anything of that class since oxloop was imported."""
    for base, expected in _STOCK_NAMESPACES[kind].items():
        names = vars(base)
        if any(names.get(name) is not value for name, value in expected.items()):
            return False
        if names.keys() - expected.keys() - _NOT_ASSIGNED:
            return False
    return True


#: What the native part of such an object takes for granted once it has looked at it.
_STREAM_STATE = {
    streams.StreamReader: {"_loop"},
    streams.StreamReaderProtocol: {"_loop", "_stream_reader_wr"},
    streams.StreamWriter: {"_loop", "_protocol", "_reader", "_transport"},
}


def stream_overrides(kind):
    """The names of methods, which an instance may not have, and those that may not be assigned."""
    names = {name for base in kind.__mro__[:-1] for name in vars(base)}
    methods = names - {"_source_traceback", "__doc__"}
    return methods, methods | _STREAM_STATE[kind] | {"__class__"}
