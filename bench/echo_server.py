"""Echo servers to be measured. Run by run.py: ``echo_server.py KIND FACTORY SECONDS FD``.

FD is a listening socket, so clients may connect before the loop is there. The server runs until it
is killed.
"""

import asyncio
import socket
import sys
from typing import Any

from child import limit_lifetime, load_factory

CHUNK = 64 * 1024


class Echo(asyncio.Protocol):
    """Answers what it gets."""

    def connection_made(self, transport: Any) -> None:
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        self.write(data)


class Lines(Echo):
    """Answers every line by a write of its own, as a server does that thinks about each."""

    rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.write(line + b"\n")


async def until_killed(_: asyncio.AbstractServer) -> None:
    """Hold the server, without which uvloop closes it. serve_forever() disturbs it in rloop 0.5."""
    await asyncio.get_running_loop().create_future()


async def protocol(listener: socket.socket, factory: type[Echo] = Echo) -> None:
    """``asyncio.Protocol``, the lowest level that programs use."""
    server = await asyncio.get_running_loop().create_server(factory, sock=listener)
    await until_killed(server)


async def lines(listener: socket.socket) -> None:
    """As ``protocol``, for many small messages at once."""
    await protocol(listener, Lines)


async def streams(listener: socket.socket) -> None:
    """``StreamReader`` and ``StreamWriter``: a task for each connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, sock=listener)
    await until_killed(server)


async def sock(listener: socket.socket) -> None:
    """The ``sock_*`` calls of the loop, no transport."""
    loop = asyncio.get_running_loop()
    tasks = set()

    async def serve(conn: socket.socket) -> None:
        with conn:
            while data := await loop.sock_recv(conn, CHUNK):
                await loop.sock_sendall(conn, data)

    while True:
        conn, _ = await loop.sock_accept(listener)
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The loop has only weak references to its tasks.
        tasks.add(loop.create_task(serve(conn)))


KINDS = {kind.__name__: kind for kind in (protocol, lines, streams, sock)}


def main() -> None:
    kind, factory, seconds, fd = sys.argv[1:]
    limit_lifetime(float(seconds))
    listener = socket.socket(fileno=int(fd))
    listener.setblocking(False)
    load_factory(factory)().run_until_complete(KINDS[kind](listener))


if __name__ == "__main__":
    main()
