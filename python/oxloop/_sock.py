"""The ``sock_*`` coroutines that move data: one native try, then a wait, then the next try.

Sockets that are not exactly ``socket.socket``, and addresses that are more than written out, go to
asyncio's own coroutines, over our watches.
"""

import os
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

    async def sock_recvfrom(self, sock, bufsize):
        """Receive a message of at most *bufsize* bytes: ``(bytes, address)``."""
        if not _is_native(sock):
            return await super().sock_recvfrom(sock, bufsize)
        fd = self._check_socket(sock)
        while (message := self._try_recvfrom(fd, bufsize)) is None:
            await self._until_ready(fd, False)
        return message

    async def sock_recvfrom_into(self, sock, buf, nbytes=0):
        """Receive a message into *buf*, at most *nbytes* (0: all of it): ``(count, address)``."""
        if not _is_native(sock):
            return await super().sock_recvfrom_into(sock, buf, nbytes)
        fd = self._check_socket(sock)
        if not nbytes:
            nbytes = len(buf)
        while (message := self._try_recvfrom_into(fd, buf, nbytes)) is None:
            await self._until_ready(fd, False)
        return message

    async def sock_sendto(self, sock, data, address):
        """Send a message to *address*; returns the number of bytes sent."""
        # Another method of the socket's class: a guard that somebody has put there.
        if not _is_native(sock) or socket.socket.sendto is not _hooks.socket_sendto:
            return await super().sock_sendto(sock, data, address)
        fd = self._check_socket(sock)
        family = _hooks.socket_family(sock)
        while (sent := self._try_sendto(sock, family, data, address)) < 0:
            if sent != _BLOCKED:
                return await super().sock_sendto(sock, data, address)
            await self._until_ready(fd, True)
        return sent

    async def sock_connect(self, sock, address):
        """Connect to *address*, whose host is resolved for ``AF_INET`` and ``AF_INET6``."""
        if not _is_native(sock) or socket.socket.connect is not _hooks.socket_connect:
            return await super().sock_connect(sock, address)
        fd = self._check_socket(sock)
        family = _hooks.socket_family(sock)
        connected = self._try_connect(sock, family, address)
        if connected == _UNKNOWN:
            return await super().sock_connect(sock, address)
        if connected == _BLOCKED:
            await self._until_connected(sock, fd, family, address)

    async def _until_connected(self, sock, fd, family, address):
        await self._until_ready(fd, True)
        if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            if family == socket.AF_INET6:
                # As asyncio has it, which has resolved the address.
                address = (*address, 0, 0)[:4]
            raise OSError(error, f"Connect call failed {address}")

    async def sock_accept(self, sock):
        """Accept a connection: ``(socket, address)``. The new socket is non-blocking."""
        if not _is_native(sock):
            return await super().sock_accept(sock)
        fd = self._check_socket(sock)
        while (accepted := self._try_accept(fd)) is None:
            await self._until_ready(fd, False)
        number, address = accepted
        try:
            # Told to be non-blocking, as it is, it need not be made so.
            kind = _hooks.socket_type(sock) | socket.SOCK_NONBLOCK
            conn = socket.socket(_hooks.socket_family(sock), kind, sock.proto, fileno=number)
        except BaseException:
            os.close(number)
            raise
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


#: What ``_try_sendto`` and ``_try_connect`` answer instead.
_BLOCKED, _UNKNOWN = -1, -2
_FAMILIES = frozenset((socket.AF_UNIX, socket.AF_INET, socket.AF_INET6))


def _is_native(sock):
    """A plain socket of a family whose addresses the native half knows."""
    return type(sock) is socket.socket and _hooks.socket_family(sock) in _FAMILIES
