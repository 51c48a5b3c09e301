"""``sendfile`` and ``sock_sendfile``: the kernel sends, here is what looks after the file.

Their arguments are checked by asyncio's methods, and so is the fallback theirs: reading the file in
the executor and writing it to the transport, for TLS and for what is no regular file.
"""

import contextlib
import os
import socket
import sys

from . import _hooks, _oxloop


class SendfileCalls:
    """Part of :class:`oxloop.EventLoop`: sending files to sockets and stream transports."""

    async def _sendfile_native(self, transp, file, offset, count):
        """Send a file over a stream transport, behind what was written before."""
        if type(transp) is not _oxloop.StreamTransport:
            return await super()._sendfile_native(transp, file, offset, count)
        self._check_closed()
        self._check_sendfile_params(transp._sock, file, offset, count)
        fd, size = _hooks.regular_file(file)
        if not (count or size):
            return 0
        sending = transp._send_file(fd, offset, _size(count))
        if type(sending) is tuple:
            return _conclude(fd, offset, *sending)
        resume_reading = transp.is_reading()
        transp.pause_reading()
        try:
            outcome = await sending
        except BaseException:
            over = sending.done() and not sending.cancelled()
            sent = sending.result()[0] if over else transp._stop_file()
            _abandon(fd, offset + sent)
            raise
        finally:
            if resume_reading:
                transp.resume_reading()
        return _conclude(fd, offset, *outcome)

    async def _sock_sendfile_native(self, sock, file, offset, count):
        """Send a file over a non-blocking socket."""
        if type(sock) is not socket.socket:
            return await super()._sock_sendfile_native(sock, file, offset, count)
        fd, size = _hooks.regular_file(file)
        if not (count or size):
            return 0
        target, sent, error = sock.fileno(), 0, None
        try:
            while True:
                rest = None if count is None else count - sent
                step = self._try_sendfile(target, fd, offset + sent, _size(rest))
                sent += step or 0
                if step == 0 or sent == count:
                    break
                # Also when something was sent: the others have their turn.
                await self._until_ready(target, True)
        except OSError as exc:
            error = _hooks.sendfile_error(exc, sent)
        except BaseException:
            _abandon(fd, offset + sent)
            raise
        return _conclude(fd, offset, sent, error)


def _size(count):
    """A count that any number may be, as a size; None stays."""
    return None if count is None else min(count, sys.maxsize)


def _conclude(fd, offset, sent, error):
    """The end of a file that was sent or failed: its position is behind what was sent."""
    if error is not None:
        _abandon(fd, offset + sent)
        raise error
    os.lseek(fd, offset + sent, os.SEEK_SET)
    return sent


def _abandon(fd, position):
    """As far as it has one: it may be closed by now, or a pipe."""
    with contextlib.suppress(OSError):
        os.lseek(fd, position, os.SEEK_SET)
