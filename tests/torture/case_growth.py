"""Nothing grows: every call of the API again and again, and loops made and closed."""

import asyncio
import gc
import os
import socket
import tempfile
import weakref

from cases import Census, Growth, case, check_growth
from support import Recorder, spin
from tls_support import client_context, server_context
from workload import Echo, echo_streams, serving


class Calls:
    """Each method calls something of the API many times: coroutine functions of one round."""

    def __init__(self, t, loop, connects, folder):
        self.t, self.loop = t, loop
        self.connect, self.connect_tls, self.connect_layers = connects
        self.path = os.path.join(folder, "socket")

    async def soon(self):
        for _ in range(100):
            self.loop.call_soon(int)
            self.loop.call_soon_threadsafe(int).cancel()
        await asyncio.sleep(0)

    async def timers(self):
        for _ in range(100):
            self.loop.call_later(1000, int).cancel()
            self.loop.call_at(self.loop.time(), int)
        await asyncio.sleep(0)

    async def tasks(self):
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(100)))

    async def cancelled_tasks(self):
        tasks = [self.loop.create_task(asyncio.sleep(1000)) for _ in range(50)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def failed_tasks(self):
        async def fail():
            raise ValueError

        await asyncio.gather(*(fail() for _ in range(50)), return_exceptions=True)

    async def watches(self):
        ours, peer = socket.socketpair()
        for _ in range(100):
            self.loop.add_reader(ours, int)
            self.loop.add_writer(ours, int)
            self.loop.remove_reader(ours)
            self.loop.remove_writer(ours)
        ours.close()
        peer.close()

    async def sock_calls(self):
        ours, peer = socket.socketpair()
        for sock in (ours, peer):
            sock.setblocking(False)
        for _ in range(50):
            await self.loop.sock_sendall(ours, b"x")
            await self.loop.sock_recv(peer, 10)
        ours.close()
        peer.close()

    async def cancelled_sock_calls(self):
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        for _ in range(20):
            task = self.loop.create_task(self.loop.sock_recv(ours, 10))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        ours.close()
        peer.close()

    async def connections(self):
        for _ in range(5):
            transport, protocol = await self.connect(Recorder)
            transport.write(b"data")
            await protocol.until_data(4)
            transport.close()
            await protocol.lost

    async def aborted_connections(self):
        for _ in range(5):
            transport, protocol = await self.connect(Recorder)
            transport.write(bytes(3_000_000))
            transport.abort()
            await protocol.lost

    async def tls_connections(self):
        transport, protocol = await self.connect_tls(Recorder)
        transport.write(b"data")
        await protocol.until_data(4)
        transport.close()
        await protocol.lost

    async def layered_connections(self):
        transport, protocol = await self.connect_layers(Recorder)
        transport.write(b"data")
        await protocol.until_data(4)
        transport.close()
        await protocol.lost

    async def aborted_handshakes(self):
        await self._abort(self.connect_tls(Recorder), self.t.random.randrange(6))

    async def aborted_inner_handshakes(self):
        await self._abort(self.connect_layers(Recorder), self.t.random.randrange(16))

    async def _abort(self, connecting, turns):
        """Cancels it after some turns of the loop; what was opened nevertheless is aborted."""
        opening = asyncio.ensure_future(connecting)
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        (opened,) = await asyncio.gather(opening, return_exceptions=True)
        if isinstance(opened, tuple):
            opened[0].abort()

    async def refused_connections(self):
        for _ in range(5):
            with tempfile.TemporaryDirectory() as folder:
                opening = self.loop.create_unix_connection(Echo, os.path.join(folder, "none"))
                await asyncio.gather(opening, return_exceptions=True)

    async def streams(self):
        for connect in (self.connect, self.connect_tls):
            reader, writer = await connect()
            for _ in range(20):
                writer.write(b"line\n" * 3 + b"exactly")
                await writer.drain()
                await reader.readline()
                await reader.readuntil(b"\n")
                await reader.__anext__()
                await reader.readexactly(7)
            waiting = asyncio.ensure_future(reader.read(10))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            reader.read(5).close()
            writer.close()
            await writer.wait_closed()

    async def streams_given_back(self):
        reader, writer = await self.connect()
        waiting = asyncio.ensure_future(reader.readline())
        await asyncio.sleep(0)
        reader.feed_data = reader.feed_data
        writer.write(b"line\n")
        await waiting
        writer.close()
        await writer.wait_closed()

    async def datagrams(self):
        transport, protocol = await self.loop.create_datagram_endpoint(
            lambda: Peers(), ("127.0.0.1", 0)
        )
        for _ in range(50):
            transport.sendto(b"x", transport.get_extra_info("sockname"))
        await asyncio.sleep(0.001)
        transport.close()
        await asyncio.sleep(0)

    async def servers(self):
        server = await self.loop.create_server(Echo, "127.0.0.1", 0)
        server.close()
        await server.wait_closed()

    async def pipes(self):
        reading, writing = os.pipe()
        transport, protocol = await self.loop.connect_read_pipe(
            Recorder, os.fdopen(reading, "rb", 0)
        )
        other, _ = await self.loop.connect_write_pipe(Recorder, os.fdopen(writing, "wb", 0))
        other.write(b"data")
        await protocol.until_data(4)
        transport.close()
        other.close()
        await asyncio.sleep(0)

    async def children(self):
        child = await asyncio.create_subprocess_exec("/bin/cat", stdin=-1, stdout=-1)
        await child.communicate(b"data")

    async def names(self):
        await self.loop.getaddrinfo("localhost", 80)
        await self.loop.getaddrinfo("127.0.0.1", 80)
        await self.loop.getnameinfo(("127.0.0.1", 80))

    async def executor(self):
        await self.loop.run_in_executor(None, int)

    async def exceptions(self):
        self.loop.call_soon(fail)
        await asyncio.sleep(0)
        self.t.errors.take()

    async def signal_handlers(self):
        import signal

        self.loop.add_signal_handler(signal.SIGUSR1, int)
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.sleep(0)
        self.loop.remove_signal_handler(signal.SIGUSR1)

    async def files(self):
        transport, protocol = await self.connect(Recorder)
        with tempfile.TemporaryFile() as file:
            file.write(bytes(100_000))
            file.seek(0)
            await self.loop.sendfile(transport, file)
        await protocol.until_data(100_000)
        transport.close()
        await protocol.lost

    async def wrong_arguments(self):
        for call in (
            lambda: self.loop.call_soon(),
            lambda: self.loop.call_later("x", int),
            lambda: self.loop.add_reader("x", int),
            lambda: self.loop.call_at(float("nan"), int),
            lambda: self.loop.call_soon(int, context=5),
        ):
            try:
                call()
            except (TypeError, ValueError, AttributeError):
                pass


class Peers(asyncio.DatagramProtocol):
    pass


def fail():
    raise ValueError


SLOW = {"children", "tls_connections", "aborted_handshakes", "executor", "names", "connections"}
SLOW |= {
    "layered_connections",
    "aborted_inner_handshakes",
    "aborted_connections",
    "streams",
    "files",
    "streams_given_back",
    "refused_connections",
}
WAYS = [name for name in vars(Calls) if not name.startswith("_")]


def growing(way):
    def grows(t):
        with t.loop() as loop, tempfile.TemporaryDirectory(prefix="oxloop-") as folder:

            async def main():
                async with (
                    serving(loop, "tcp", streams=echo_streams) as connect,
                    serving(loop, "tls", streams=echo_streams) as connect_tls,
                    serving(loop, "layers") as connect_layers,
                ):
                    calls = Calls(t, loop, (connect, connect_tls, connect_layers), folder)
                    call = getattr(calls, way)
                    rounds = t.scale(50, 1000) if way in SLOW else t.scale(200, 5000)

                    async def many(count):
                        for _ in range(count):
                            await call()
                        await asyncio.sleep(0.02)
                        gc.collect()

                    await many(10)
                    growth = Growth(rounds)
                    while True:
                        await many(rounds)
                        t.count("rounds", rounds)
                        if growth.is_over():
                            break
                await loop.shutdown_default_executor()

            loop.run_until_complete(main())

    return grows


for way in WAYS:
    case(seconds=30, name=f"of_{way}")(growing(way))


@case(seconds=40)
def of_loops(t):
    """Loops made, used and closed, or made and forgotten."""
    context = server_context(), client_context()

    async def use(loop):
        ours, theirs = socket.socketpair()
        accepting = asyncio.ensure_future(
            loop.connect_accepted_socket(Echo, theirs, ssl=context[0])
        )
        transport, protocol = await loop.create_connection(
            Recorder, sock=ours, ssl=context[1], server_hostname="localhost"
        )
        other, _ = await accepting
        transport.write(b"data")
        await protocol.until_data(4)
        if t.random.random() < 0.5:
            transport.close()
            await protocol.lost
        else:
            transport.abort()
            other.abort()
            await asyncio.sleep(0)
        child = await asyncio.create_subprocess_exec("/bin/true")
        await child.wait()

    def one():
        loop = t.new_event_loop()
        loop.set_exception_handler(t.errors)
        loop.run_until_complete(use(loop))
        loop.call_later(1000, loop.stop)  # a cycle
        loop.call_soon(int)
        loop.close()
        died = weakref.ref(loop)
        del loop
        gc.collect()
        assert died() is None
        t.count("loops")

    census = Census()
    one()
    check_growth(one, t.scale(25, 500))
    census.check()
    t.errors.take()


@case(seconds=30)
def of_what_is_forgotten(t):
    """Loops with everything open, dropped without closing anything: all of it is collected."""
    import warnings

    warnings.simplefilter("ignore", ResourceWarning)

    async def open_all(loop):
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        waiting = loop.create_task(reader.read(10))
        await asyncio.sleep(0)
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        transport, _ = await loop.create_datagram_endpoint(Peers, ("127.0.0.1", 0))
        loop.call_later(1000, print, loop, reader)
        loop.keep = (reader, writer, server, transport, theirs, waiting)
        reader.keep = writer
        return weakref.ref(reader), weakref.ref(writer), weakref.ref(transport)

    def one():
        loop = t.new_event_loop()
        refs = (*loop.run_until_complete(open_all(loop)), weakref.ref(loop))
        # A server's sockets and a loop's poller are closed by its finalizer.
        loop.close() if t.random.random() < 0.5 else None
        del loop
        for _ in range(4):
            gc.collect()
        assert [ref() for ref in refs] == [None] * 4
        t.count("loops")

    logging_off()
    census = Census()
    one()
    check_growth(one, t.scale(15, 500))
    census.check()
    t.errors.take()
    t.take_unraisable()


def logging_off():
    import logging

    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


@case()
def of_turns_with_nothing(t):
    """A loop that is run and stopped again and again."""
    with t.loop() as loop:
        check_growth(lambda: spin(loop, 10), t.scale(2000, 100_000))
