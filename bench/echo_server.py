"""Echo servers to be measured. Run by run.py: ``echo_server.py KIND FACTORY SECONDS FD``.

FD is a listening socket, so clients may connect before the loop is there. The server runs until it
is killed.
"""

import asyncio
import socket
import sys

from child import limit_lifetime, load_factory

CHUNK = 64 * 1024


class Echo(asyncio.Protocol):
    """Answers what it gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
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


async def protocol(listener: socket.socket) -> None:
    """``asyncio.Protocol``, the lowest level that programs use."""
    await asyncio.get_running_loop().create_server(Echo, sock=listener)


async def lines(listener: socket.socket) -> None:
    """As ``protocol``, for many small messages at once."""
    await asyncio.get_running_loop().create_server(Lines, sock=listener)


async def streams(listener: socket.socket) -> None:
    """``StreamReader`` and ``StreamWriter``: a task for each connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.close()

    await asyncio.start_server(serve, sock=listener)


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
    loop = load_factory(factory)()
    asyncio.set_event_loop(loop)
    server = loop.create_task(KINDS[kind](listener))
    server.add_done_callback(_stop_if_failed)
    loop.run_forever()
    server.result()


def _stop_if_failed(server: asyncio.Task[None]) -> None:
    if server.exception() is not None:
        server.get_loop().stop()


if __name__ == "__main__":
    main()
