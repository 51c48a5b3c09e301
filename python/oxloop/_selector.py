"""What asyncio's own code expects at ``loop._selector``."""

import selectors


class WatchedDescriptors:
    """A read-only view of what the native loop watches, in the terms of ``selectors``.

    asyncio's borrowed transports look here for their repr; nothing is registered through it.
    """

    def __init__(self, loop):
        self._loop = loop

    def get_key(self, fd):
        """The SelectorKey of a watched descriptor; KeyError if it is not watched."""
        reading, writing = self._loop._watched(fd)
        events = reading * selectors.EVENT_READ | writing * selectors.EVENT_WRITE
        if not events:
            raise KeyError(f"{fd!r} is not registered")
        return selectors.SelectorKey(fd, fd, events, None)

    def close(self):
        self._loop = None
