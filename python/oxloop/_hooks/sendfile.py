"""Files for ``sendfile``, and its errors."""

import errno
import io
import os
from asyncio import SendfileNotAvailableError


def regular_file(file):
    """``(fd, size)`` of what ``os.sendfile`` can send; asyncio's error if *file* is not that."""
    try:
        fd = file.fileno()
    except (AttributeError, io.UnsupportedOperation):
        raise SendfileNotAvailableError("not a regular file") from None
    try:
        return fd, os.fstat(fd).st_size
    except OSError:
        raise SendfileNotAvailableError("not a regular file") from None


def sendfile_error(exc, sent):
    """What asyncio raises for an error of ``os.sendfile``, with *sent* bytes sent before."""
    if not sent:
        # Perhaps no file that the kernel can send: the caller may fall back to reading it.
        return SendfileNotAvailableError("os.sendfile call failed")
    if exc.errno == errno.ENOTCONN:
        error = ConnectionError("socket is not connected", errno.ENOTCONN)
        error.__cause__ = exc
        return error
    return exc
