"""What differs between the releases of CPython, as facts that are asked of asyncio itself."""

import inspect
import sys
from asyncio import SelectorEventLoop, base_events, events

PYTHON = sys.version_info[:2]

#: 3.14: handles of call_soon_threadsafe can be cancelled from another thread while they run.
ThreadSafeHandle = getattr(events, "_ThreadSafeHandle", None)
#: 3.13: Server keeps its transports, before it only counted them.
SERVER_ATTACH_TAKES_TRANSPORT = (
    "transport" in inspect.signature(base_events.Server._attach).parameters
)
#: 3.15: every connection of a server runs in a copy of the server's context.
SERVER_HAS_CONTEXT = (
    "context" in inspect.signature(SelectorEventLoop._accept_connection2).parameters
)

#: 3.13: a waiting datagram counts for more than its bytes (3.13.0 forgets to take that off again).
DATAGRAM_HEADER_SIZE = 8 if PYTHON >= (3, 13) else 0
