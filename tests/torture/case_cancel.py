"""Every coroutine of the API, cancelled at every one of its awaits: nothing is left, and what goes
through the same objects afterwards is whole."""

import asyncio
import contextlib
import os
import socket
import tempfile

from cases import case
from support import Recorder
from tls_support import client_context, server_context
from workload import Echo, echo_streams, serving, settle

MODES = ("rb", "wb")
QUICK_CHILD = ["/bin/sh", "-c", "cat"]


class Api:
    """Each method is one coroutine of the API, with what it needs around it."""

    def __init__(self, loop, connects, folder):
        self.loop = loop
        self.connect, self.connect_tls, self.connect_layers = connects
        self.folder, self.things = folder, []

    def pair(self):
        pair = socket.socketpair()
        for sock in pair:
            sock.setblocking(False)
        self.things += pair
        return pair

    async def stream(self, tls=False):
        reader, writer = await (self.connect_tls if tls else self.connect)()
        self.things.append(writer)
        return reader, writer

    # connections

    async def create_connection(self):
        self.things.append((await self.connect(Echo))[0])

    async def create_connection_tls(self):
        self.things.append((await self.connect_tls(Echo))[0])

    async def open_connection(self):
        await self.stream()

    async def open_connection_tls(self):
        await self.stream(tls=True)

    async def by_name(self):
        opened = await self.loop.create_connection(Echo, "localhost", self.connect.address[1])
        self.things.append(opened[0])

    async def start_tls(self):
        ours, theirs = self.pair()
        for sock in self.things[-2:]:
            self.things.remove(sock)
        accept = self.loop.connect_accepted_socket(Echo, theirs, ssl=server_context())
        accepting = asyncio.ensure_future(accept)
        try:
            transport, protocol = await self.loop.create_connection(Recorder, sock=ours)
            self.things.append(transport)
            secure = await self.loop.start_tls(
                transport, protocol, client_context(), server_hostname="localhost"
            )
            self.things.append(secure)
        finally:
            accepting.cancel()
            (accepted,) = await asyncio.gather(accepting, return_exceptions=True)
            if isinstance(accepted, tuple):
                self.things.append(accepted[0])
            else:
                theirs.close()
                ours.close()

    async def start_tls_over_tls(self):
        self.things.append((await self.connect_layers(Recorder))[0])

    async def open_connection_with_layers(self):
        self.things.append((await self.connect_layers())[1])

    async def create_server(self):
        server = await self.loop.create_server(Echo, "127.0.0.1", 0)
        self.things.append(server)

    async def create_unix_server(self):
        path = os.path.join(self.folder, str(id(object())))
        self.things.append(await self.loop.create_unix_server(Echo, path))

    async def serve_forever(self):
        server = await self.loop.create_server(Echo, "127.0.0.1", 0)
        self.things.append(server)
        self.loop.call_later(0.001, server.close)
        with contextlib.suppress(asyncio.CancelledError):
            await server.serve_forever()

    async def wait_closed(self):
        reader, writer = await self.stream()
        writer.write(bytes(300_000))
        writer.close()
        await writer.wait_closed()

    async def connect_accepted_socket(self):
        ours, theirs = self.pair()
        self.things.remove(ours)
        try:
            transport, _ = await self.loop.connect_accepted_socket(Echo, ours)
            self.things.append(transport)
        except BaseException:
            ours.close()
            raise

    async def create_datagram_endpoint(self):
        opened = await self.loop.create_datagram_endpoint(Recorder, ("127.0.0.1", 0))
        self.things.append(opened[0])

    async def create_datagram_endpoint_by_name(self):
        opened = await self.loop.create_datagram_endpoint(Recorder, remote_addr=("localhost", 9))
        self.things.append(opened[0])

    # streams

    async def read(self, tls=False):
        reader, writer = await self.stream(tls)
        for data in (b"a line\n", b"exactly", b"until;", bytes(200_000)):
            writer.write(data)
        await writer.drain()
        assert await reader.readline() == b"a line\n"
        assert await reader.readexactly(7) == b"exactly"
        assert await reader.readuntil(b";") == b"until;"
        assert await reader.readexactly(200_000) == bytes(200_000)

    async def read_tls(self):
        await self.read(tls=True)

    async def read_to_the_end(self):
        reader, writer = await self.stream()
        writer.write(bytes(200_000))
        writer.write_eof()
        assert await reader.read() == bytes(200_000)

    async def iterate(self):
        reader, writer = await self.stream()
        writer.write(b"1\n2\n3\n")
        writer.write_eof()
        assert [line async for line in reader] == [b"1\n", b"2\n", b"3\n"]

    async def drain(self):
        reader, writer = await self.stream()
        writer.write(bytes(2_000_000))
        await writer.drain()

    async def writer_start_tls(self):
        reader, writer = await self.stream()
        # The other side does not speak it: it fails, at some time.
        with contextlib.suppress(OSError):
            await writer.start_tls(client_context(), server_hostname="localhost")

    # sockets

    async def sock_recv(self):
        ours, theirs = self.pair()
        self.loop.call_later(0.001, theirs.send, b"x")
        assert await self.loop.sock_recv(ours, 1) == b"x"

    async def sock_recv_into(self):
        ours, theirs = self.pair()
        self.loop.call_later(0.001, theirs.send, b"x")
        assert await self.loop.sock_recv_into(ours, bytearray(5)) == 1

    async def sock_recvfrom(self):
        ours, theirs = self.pair()
        self.loop.call_later(0.001, theirs.send, b"x")
        data, _ = await self.loop.sock_recvfrom(ours, 5)
        assert data == b"x"

    async def sock_sendall(self):
        ours, theirs = self.pair()
        reading = asyncio.ensure_future(self.take(theirs, 1_000_000))
        try:
            await self.loop.sock_sendall(ours, bytes(1_000_000))
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def take(self, sock, size):
        while size:
            size -= len(await self.loop.sock_recv(sock, 100_000))

    async def sock_connect(self):
        sock = socket.socket()
        sock.setblocking(False)
        self.things.append(sock)
        await self.loop.sock_connect(sock, self.connect.address)

    async def sock_accept(self):
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        late = socket.socket()
        self.things += [listening, late]
        self.loop.call_later(0.001, late.connect, listening.getsockname())
        sock, _ = await self.loop.sock_accept(listening)
        sock.close()

    async def sock_sendfile(self):
        ours, theirs = self.pair()
        reading = asyncio.ensure_future(self.take(theirs, 1_000_000))
        try:
            with tempfile.TemporaryFile() as file:
                file.write(bytes(1_000_000))
                file.seek(0)
                await self.loop.sock_sendfile(ours, file)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def sendfile(self, tls=False):
        connect = self.connect_tls if tls else self.connect
        transport, protocol = await connect(Recorder)
        self.things.append(transport)
        with tempfile.TemporaryFile() as file:
            file.write(bytes(1_000_000))
            file.seek(0)
            await self.loop.sendfile(transport, file)
        await protocol.until_data(1_000_000)

    async def sendfile_tls(self):
        await self.sendfile(tls=True)

    # the rest

    async def subprocess(self):
        child = await asyncio.create_subprocess_exec(*QUICK_CHILD, stdin=-1, stdout=-1)
        try:
            output, _ = await child.communicate(b"in" * 100_000)
            assert len(output) == 200_000
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            # First: before 3.12 a child has not ended while its output waits for a reader.
            child._transport.close()
            await asyncio.shield(child.wait())

    async def subprocess_wait(self):
        child = await asyncio.create_subprocess_exec("/bin/true")
        try:
            assert await child.wait() == 0
        finally:
            await asyncio.shield(child.wait())

    async def pipes(self):
        reading, writing = (
            os.fdopen(fd, mode, 0) for fd, mode in zip(os.pipe(), MODES, strict=True)
        )
        self.things += [reading, writing]
        transport, protocol = await self.loop.connect_read_pipe(Recorder, reading)
        self.things += [transport]
        other, _ = await self.loop.connect_write_pipe(Recorder, writing)
        self.things += [other]
        other.write(bytes(100_000))
        await protocol.until_data(100_000)

    async def getaddrinfo(self):
        await self.loop.getaddrinfo("localhost", 80)

    async def getnameinfo(self):
        await self.loop.getnameinfo(("127.0.0.1", 80))

    async def executor(self):
        await self.loop.run_in_executor(None, lambda: None)

    async def to_thread(self):
        await asyncio.to_thread(lambda: None)

    async def sleep(self):
        await asyncio.sleep(0.0005)

    async def queue(self):
        queue = asyncio.Queue(1)
        async with asyncio.TaskGroup() as group:
            group.create_task(queue.put(1))
            group.create_task(queue.put(2))
            assert await queue.get() == 1
            assert await queue.get() == 2


WAYS = [name for name in vars(Api) if name not in ("__init__", "pair", "stream", "take")]
WAYS = [name for name in WAYS if not name.startswith("_")]


def close(thing):
    if isinstance(thing, asyncio.StreamWriter):
        thing = thing.transport
    getattr(thing, "abort", thing.close)()


@case(seconds=60)
def at_every_await(t):
    """Cancelled after one turn, after two, ... until it ends before: once, twice, and by a timeout
    of its own."""

    async def main(loop):
        with tempfile.TemporaryDirectory(prefix="oxloop-") as folder:
            async with (
                serving(loop, "tcp", streams=echo_streams) as connect,
                serving(loop, "tls", streams=echo_streams) as connect_tls,
                serving(loop, "layers") as connect_layers,
            ):
                connect_all = ((connect, connect_tls, connect_layers), folder)
                for _ in range(t.scale(1, 10)):
                    for way in WAYS:
                        for how in ("once", "twice", "timeout"):
                            await cancel_everywhere(t, loop, way, how, connect_all)
                await check_left(loop)
        await loop.shutdown_default_executor()

    t.run(main)
    t.errors.take()


async def cancel_everywhere(t, loop, way, how, around):
    turns = 0
    while True:
        api = Api(loop, *around)
        task = loop.create_task(getattr(api, way)())
        for _ in range(turns):
            await asyncio.sleep(0)
        late = not task.done()
        if how == "timeout" and late:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(task), 0)
            task.cancel()
        task.cancel()
        if how == "twice":
            await asyncio.sleep(0)
            task.cancel()
        # `wait` does not cancel; what does not end when cancelled hangs here.
        done, _ = await asyncio.wait([task], timeout=10)
        assert done, f"{way} cancelled {how} after {turns} turns goes on: {task}"
        if not task.cancelled() and task.exception():
            raise task.exception()
        for thing in api.things:
            close(thing)
        await settle(3)
        t.count("cancellations")
        if not late:
            return
        # Each of the first turns, then larger and larger steps.
        turns += 1 if turns < t.scale(12, 30) else max(1, turns // 5)


async def check_left(loop):
    """Tasks that nobody has ended."""
    for _ in range(200):
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if not left:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(left)


@case(seconds=30)
def reads_that_are_cancelled_lose_nothing(t):
    """Stream reads under timeouts of every length: the bytes are all there, in order."""

    async def main(loop):
        for kind in ("tcp", "tls"):
            async with serving(loop, kind, streams=echo_streams) as connect:
                reader, writer = await connect()
                sent, received = bytearray(), bytearray()
                for _ in range(t.scale(1500, 50_000)):
                    data = t.random.randbytes(t.random.randrange(1, 3000))
                    sent += data
                    writer.write(data)
                    size = t.random.randrange(1, 3000)
                    read = t.random.choice(
                        (
                            lambda: reader.read(size),
                            lambda: reader.readexactly(min(size, len(sent) - len(received))),
                            lambda: reader.readuntil(bytes([t.random.randrange(256)])),
                        )
                    )
                    task = loop.create_task(read())
                    for _ in range(t.random.randrange(6)):
                        await asyncio.sleep(0)
                    if t.random.random() < 0.3:
                        await asyncio.wait([task], timeout=t.random.random() * 0.001)
                    task.cancel()
                    try:
                        received += await task
                    except asyncio.CancelledError:
                        t.count("cancellations")
                while len(received) < len(sent):
                    received += await reader.read(100_000)
                assert received == sent
                t.count("bytes checked", len(sent))
                writer.close()
                await writer.wait_closed()

    t.run(main)


@case()
def sends_that_are_cancelled_lose_nothing(t):
    """`sock_recv` and its kin under cancellation: what was not returned is still there."""

    async def main(loop):
        for _ in range(t.scale(300, 10_000)):
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            data = t.random.randbytes(t.random.randrange(1, 5000))
            received = bytearray()
            loop.call_later(t.random.random() * 0.0005, theirs.sendall, data)
            buffer = bytearray(700)
            while len(received) < len(data):
                into = t.random.random() < 0.5
                read = loop.sock_recv_into(ours, buffer) if into else loop.sock_recv(ours, 700)
                task = loop.create_task(read)
                await asyncio.wait([task], timeout=t.random.random() * 0.0003)
                task.cancel()
                try:
                    result = await task
                except asyncio.CancelledError:
                    t.count("cancellations")
                    continue
                received += buffer[:result] if into else result
            assert received == data
            ours.close()
            theirs.close()

    t.run(main)
