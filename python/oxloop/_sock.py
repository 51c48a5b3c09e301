"""The ``sock_*`` coroutines that move data: one native try, then a wait, then the next try.

Those that are not here (``sock_connect``, ``sock_recvfrom`` …) are asyncio's, over our watches.
"""

import socket

from . import _hooks


class SocketCalls:
    """Part of :class:`oxloop.EventLoop`: receiving from and sending to sockets of the user."""

    async def sock_recv(self, sock, n):
        """Receive at most *n* bytes; ``b""`` at the end of the stream.

        *sock* must be non-blocking. Raises what ``socket.recv`` does.
        """
        if type(sock) is not socket.socket:
            return await super().sock_recv(sock, n)
        fd = self._check_socket(sock)
        while (data := self._try_recv(fd, n)) is None:
            await self._until_ready(fd, False)
        return data

    async def sock_recv_into(self, sock, buf):
        """Receive into the writable buffer *buf*; returns the number of bytes, 0 at the end."""
        if type(sock) is not socket.socket:
            return await super().sock_recv_into(sock, buf)
        fd = self._check_socket(sock)
        while (count := self._try_recv_into(fd, buf)) is None:
            await self._until_ready(fd, False)
        return count

    async def sock_sendall(self, sock, data):
        """Send all of *data*, a bytes-like object."""
        if type(sock) is not socket.socket:
            return await super().sock_sendall(sock, data)
        fd = self._check_socket(sock)
        start = 0
        while (start := self._try_send(fd, data, start)) is not None:
            await self._until_ready(fd, True)

    async def sock_accept(self, sock):
        """Accept a connection: ``(socket, address)``. The new socket is non-blocking."""
        if type(sock) is not socket.socket:
            return await super().sock_accept(sock)
        fd = self._check_socket(sock)
        while True:
            try:
                conn, address = sock.accept()
            except (BlockingIOError, InterruptedError):
                await self._until_ready(fd, False)
            else:
                conn.setblocking(False)
                return conn, address

    def _check_socket(self, sock):
        """The descriptor of a socket; in debug mode blocking ones are refused."""
        _hooks.check_ssl_socket(sock)
        if self._debug and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")
        return sock.fileno()

    async def _until_ready(self, fd, writing):
        future = self._watch_once(fd, writing)
        try:
            await future
        except BaseException:
            self._unwatch_once(fd, writing, future)
            raise
