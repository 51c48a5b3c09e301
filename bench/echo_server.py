"""Servers to be measured. Run by run.py: ``echo_server.py KIND FACTORY SECONDS FD``.

FD is a listening socket, or one for datagrams, so clients may connect before the loop is there. The
server runs until it is killed.
"""

import asyncio
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

from child import limit_lifetime, load_factory
from network import PART, WRITES

CHUNK = 64 * 1024
BULK = 256 * 1024
CERTIFICATE = Path(__file__).resolve().parent.parent / "tests" / "certs" / "localhost.pem"


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


class ManyWrites(Echo):
    """Answers a request by many small writes, as a server does that writes header by header."""

    part = b"x" * PART

    def data_received(self, data: bytes) -> None:
        for _ in range(WRITES):
            self.write(self.part)


class Bulk(Echo):
    """Writes large pieces without end, for as long as the transport does not pause it."""

    piece = b"x" * BULK
    paused = False

    def data_received(self, data: bytes) -> None:
        self.go_on()

    def go_on(self) -> None:
        for _ in range(16):
            if self.paused:
                return
            self.write(self.piece)
        asyncio.get_running_loop().call_soon(self.go_on)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        asyncio.get_running_loop().call_soon(self.go_on)


class Datagrams(asyncio.DatagramProtocol):
    """Answers what it gets."""

    def connection_made(self, transport: Any) -> None:
        self.send = transport.sendto

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.send(data, address)


async def until_killed(_: object) -> None:
    """Hold the server, without which uvloop closes it. serve_forever() disturbs it in rloop 0.5."""
    await asyncio.get_running_loop().create_future()


async def protocol(
    listener: socket.socket, factory: type[Echo] = Echo, tls: ssl.SSLContext | None = None
) -> None:
    """``asyncio.Protocol``, the lowest level that programs use."""
    server = await asyncio.get_running_loop().create_server(factory, sock=listener, ssl=tls)
    await until_killed(server)


async def lines(listener: socket.socket) -> None:
    """As ``protocol``, for many small messages at once."""
    await protocol(listener, Lines)


async def many_writes(listener: socket.socket) -> None:
    """As ``protocol``, with answers in many pieces."""
    await protocol(listener, ManyWrites)


async def bulk(listener: socket.socket) -> None:
    """As ``protocol``, writing without end."""
    await protocol(listener, Bulk)


async def tls(listener: socket.socket) -> None:
    """As ``protocol``, over TLS."""
    await protocol(listener, tls=tls_context())


def tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


async def datagram(sock: socket.socket) -> None:
    """A datagram endpoint."""
    loop = asyncio.get_running_loop()
    await until_killed(await loop.create_datagram_endpoint(Datagrams, sock=sock))


async def streams(listener: socket.socket, by_line: bool = False) -> None:
    """``StreamReader`` and ``StreamWriter``: a task for each connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await (reader.readline() if by_line else reader.read(CHUNK)):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, sock=listener)
    await until_killed(server)


async def readline(listener: socket.socket) -> None:
    """As ``streams``, a line at a time."""
    await streams(listener, by_line=True)


async def uvicorn(listener: socket.socket) -> None:
    """An ASGI application that does nothing, so that what counts is the server and its loop."""
    import uvicorn  # of the environment that run.py makes

    async def app(scope: Any, receive: Any, send: Any) -> None:
        head = [(b"content-type", b"text/plain"), (b"content-length", b"13")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b"Hello, world!"})

    config = uvicorn.Config(app, http="httptools", lifespan="off", ws="none", log_level="error")
    config.access_log = False
    await uvicorn.Server(config).serve(sockets=[listener])


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


FUNCTIONS = (
    bulk, datagram, lines, many_writes, protocol, readline, sock, streams, tls, uvicorn,
)  # fmt: skip
KINDS = {function.__name__: function for function in FUNCTIONS}


def main() -> None:
    kind, factory, seconds, fd = sys.argv[1:]
    limit_lifetime(float(seconds))
    listener = socket.socket(fileno=int(fd))
    listener.setblocking(False)
    load_factory(factory)().run_until_complete(KINDS[kind](listener))


if __name__ == "__main__":
    main()
