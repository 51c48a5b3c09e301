"""Loads that the cases share: echo servers over every kind of stream, and traffic that is checked.

What goes through is random in size and rhythm, and compared by its hash, so that a lost, doubled or
moved byte shows.
"""

import asyncio
import contextlib
import hashlib
import os
import tempfile

from tls_support import client_context, server_context

KINDS = ("tcp", "unix", "tls")
ALL_KINDS = (*KINDS, "pipe", "layers")


class Echo(asyncio.Protocol):
    """Sends back what it receives; reads no more while its peer does not."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()

    def connection_lost(self, exc):
        pass


async def echo_streams(reader, writer):
    """The same with streams."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(loop, kind, factory=Echo, streams=None):
    """A server; yields a coroutine function that connects to it: `connect(protocol_factory)` or,
    without one, `connect()` for a reader and a writer."""
    if kind == "pipe":
        yield Pipes(loop, factory, streams).connect
        await settle()
        return
    if kind == "layers":
        layers = Layers(loop, factory, streams)
        async with serving(loop, "tls", layers.accepted) as connect:
            layers.below = connect
            yield layers.connect
        return
    tls = {"ssl": server_context()} if kind == "tls" else {}
    with tempfile.TemporaryDirectory(prefix="oxloop-") as folder:
        path = os.path.join(folder, "socket")
        if kind == "unix" and streams:
            server = await asyncio.start_unix_server(streams, path)
        elif kind == "unix":
            server = await loop.create_unix_server(factory, path)
        elif streams:
            server = await asyncio.start_server(streams, "127.0.0.1", 0, backlog=1000, **tls)
        else:
            server = await loop.create_server(factory, "127.0.0.1", 0, backlog=1000, **tls)
        trusted = client_context()

        async def connect(factory=None):
            names = {"ssl": trusted, "server_hostname": "localhost"} if tls else {}
            if kind == "unix":
                if factory:
                    return await loop.create_unix_connection(factory, path)
                return await asyncio.open_unix_connection(path)
            address = server.sockets[0].getsockname()
            if factory:
                return await loop.create_connection(factory, *address, **names)
            return await asyncio.open_connection(*address, **names)

        connect.address = path if kind == "unix" else server.sockets[0].getsockname()
        try:
            yield connect
        finally:
            server.close()
            await settle()


class Pipes:
    """Two pipes to something that serves, in place of a connection: one there, one back."""

    def __init__(self, loop, factory, streams):
        self.loop, self.factory, self.streams, self.serving = loop, factory, streams, set()

    async def connect(self, factory=None):
        if factory:
            reading, writing = os.pipe()
            await self.reading(reading, self.factory)
            return await self.writing(writing, factory)
        there, back = os.pipe(), os.pipe()
        if self.streams:
            opened = await self.streams_over(there[0], back[1])
            server = asyncio.ensure_future(self.streams(*opened))
            self.serving.add(server)
            server.add_done_callback(self.serving.discard)
        else:
            transport, echo = await self.reading(there[0], PipeEcho)
            echo.answers, _ = await self.writing(back[1], lambda: PipeAnswers(transport))
        return await self.streams_over(back[0], there[1])

    def reading(self, fd, factory):
        return self.loop.connect_read_pipe(factory, open(fd, "rb", 0))

    def writing(self, fd, factory):
        return self.loop.connect_write_pipe(factory, open(fd, "wb", 0))

    async def streams_over(self, reading, writing):
        reader = asyncio.StreamReader()
        await self.reading(reading, lambda: asyncio.StreamReaderProtocol(reader))
        unused = asyncio.StreamReader()
        transport, protocol = await self.writing(
            writing, lambda: asyncio.StreamReaderProtocol(unused)
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, self.loop)


class PipeEcho(asyncio.Protocol):
    """Sends what it receives into another pipe."""

    def data_received(self, data):
        self.answers.write(data)

    def connection_lost(self, exc):
        self.answers.close()


class PipeAnswers(asyncio.BaseProtocol):
    """Keeps the other pipe from being read while this one is full."""

    def __init__(self, reading):
        self.reading = reading

    def pause_writing(self):
        self.reading.pause_reading()

    def resume_writing(self):
        self.reading.resume_reading()


class Layers:
    """TLS over the TLS that `below` connects with, to something that serves."""

    def __init__(self, loop, factory, streams):
        self.loop, self.factory, self.streams = loop, factory, streams
        self.contexts, self.upgrading = (server_context(), client_context()), {}

    def accepted(self):
        return Accepted(self)

    def serving(self):
        if self.streams:
            return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self.streams)
        return self.factory()

    async def upgrade(self, transport):
        protocol = self.serving()
        with contextlib.suppress(OSError):
            inner = await self.loop.start_tls(
                transport, protocol, self.contexts[0], server_side=True
            )
            if inner:
                protocol.connection_made(inner)

    async def connect(self, factory=None):
        names = {"server_hostname": "localhost"}
        if not factory:
            reader, writer = await self.below()
            with aborted_otherwise(writer.transport):
                await writer.start_tls(self.contexts[1], **names)
                await self.is_served(writer.transport)
            return reader, writer
        (transport, _), protocol = await self.below(asyncio.Protocol), factory()
        with aborted_otherwise(transport):
            inner = await self.loop.start_tls(transport, protocol, self.contexts[1], **names)
            protocol.connection_made(inner)
            await self.is_served(inner)
        return inner, protocol

    async def is_served(self, transport):
        """Nothing may come to a protocol that has not been told of its connection."""
        if upgrading := self.upgrading.get(transport.get_extra_info("sockname")):
            await asyncio.shield(upgrading)


class Accepted(asyncio.Protocol):
    """Begins the second layer at once; until then nothing may be read."""

    def __init__(self, layers):
        self.layers = layers

    def connection_made(self, transport):
        transport.pause_reading()
        upgrading = asyncio.ensure_future(self.layers.upgrade(transport))
        name = transport.get_extra_info("peername")
        self.layers.upgrading[name] = upgrading
        upgrading.add_done_callback(lambda _: self.layers.upgrading.pop(name))


@contextlib.contextmanager
def aborted_otherwise(transport):
    """The connection ends with what was to be done with it."""
    try:
        yield
    except BaseException:
        transport.abort()
        raise


async def settle(turns=5):
    for _ in range(turns):
        await asyncio.sleep(0)


def pieces(random, total):
    """Sizes that add up to `total`: mostly small ones, now and then a large one."""
    while total > 0:
        most = random.choice((10, 1000, 5000, 70_000, 300_000))
        size = min(total, random.randrange(1, most))
        total -= size
        yield size


async def check_echo(reader, writer, random, total):
    """Sends `total` random bytes and reads them back, both with pauses."""
    block = random.randbytes(400_000)
    sent, received = hashlib.sha256(), hashlib.sha256()

    async def send():
        for size in pieces(random, total):
            start = random.randrange(len(block) - size)
            data = block[start : start + size]
            sent.update(data)
            if random.random() < 0.3:
                # Changed afterwards: what was there at the call counts.
                data = bytearray(data)
                writer.write(data)
                data[:] = bytes(len(data))
            elif random.random() < 0.2:
                middle = size // 2
                writer.writelines([data[:middle], b"", memoryview(data)[middle:]])
            else:
                writer.write(data)
            if random.random() < 0.5:
                await writer.drain()
            await pause(random)
        await writer.drain()

    async def receive():
        left = total
        while left:
            if random.random() < 0.2:
                data = await reader.readexactly(min(left, random.randrange(1, 100_000)))
            else:
                data = await reader.read(random.choice((10, 5000, 1 << 20)))
            if not data:
                raise EOFError(f"{left} bytes were to come")
            received.update(data)
            left -= len(data)
            await pause(random)

    await asyncio.gather(send(), receive())
    assert sent.digest() == received.digest()


async def pause(random):
    chance = random.random()
    if chance < 0.01:
        await asyncio.sleep(random.random() * 0.005)
    elif chance < 0.1:
        await asyncio.sleep(0)
