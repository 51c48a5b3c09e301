"""A cycle through each type that oxloop makes is found by the collector, with its loop."""

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
import time
import warnings
import weakref

import pytest
from tls_support import client_context, server_context


class Tied(asyncio.Protocol, asyncio.DatagramProtocol, asyncio.SubprocessProtocol):
    """A protocol that is part of a cycle, and a callback that is."""

    def __call__(self, *args):
        return self


class Cycle:
    """Each method makes something that refers to the node, which refers to it and to the loop."""

    def __init__(self, loop):
        self.loop, self.node = loop, Tied()
        self.node.loop = loop
        loop.node = self.node
        self.files = []

    def pair(self):
        ours, peer = socket.socketpair()
        for sock in (ours, peer):
            sock.setblocking(False)
        self.files += [ours, peer]
        return ours, peer

    def tied(self):
        return self.node

    async def handle(self):
        return self.loop.call_soon(self.node, self.node)

    async def timer(self):
        return self.loop.call_later(3600, self.node, self.node)

    async def threadsafe_handle(self):
        return self.loop.call_soon_threadsafe(self.node, self.node)

    async def handle_with_many_arguments(self):
        return self.loop.call_soon(self.node, *[self.node] * 6)

    async def task_that_waits(self):
        async def wait(node):
            await self.loop.create_future()

        task = self.loop.create_task(wait(self.node))
        await asyncio.sleep(0)
        return self.quiet(task)

    def quiet(self, task):
        task._log_destroy_pending = False
        return task

    async def stream(self):
        transport, _ = await self.loop.create_connection(self.tied, sock=self.pair()[0])
        transport.write(bytes(1 << 20))
        return transport

    async def stream_of_a_buffered_protocol(self):
        class Buffered(asyncio.BufferedProtocol):
            def get_buffer(self, hint):
                return bytearray(10)

        protocol = Buffered()
        protocol.node = self.node
        transport, _ = await self.loop.create_connection(lambda: protocol, sock=self.pair()[0])
        return transport

    async def tls(self):
        ours, peer = self.pair()
        (transport, _), (other, _) = await asyncio.gather(
            self.loop.create_connection(
                self.tied, sock=ours, ssl=client_context(), server_hostname="localhost"
            ),
            self.loop.connect_accepted_socket(self.tied, peer, ssl=server_context()),
        )
        self.node.other = other
        transport.write(bytes(1 << 20))
        return transport

    async def tls_in_its_handshake(self):
        ours, _ = self.pair()
        made = self.loop.create_connection(
            self.tied, sock=ours, ssl=client_context(), server_hostname="localhost"
        )
        task = self.loop.create_task(made)
        for _ in range(5):
            await asyncio.sleep(0)
        return self.quiet(task)

    async def server(self):
        return await self.loop.create_server(self.tied, "127.0.0.1", 0)

    async def server_with_tls(self):
        return await self.loop.create_server(self.tied, "127.0.0.1", 0, ssl=server_context())

    async def server_of_streams(self):
        return await asyncio.start_server(self.node, "127.0.0.1", 0)

    async def datagrams(self):
        transport, _ = await self.loop.create_datagram_endpoint(self.tied, ("127.0.0.1", 0))
        return transport

    async def read_pipe(self):
        reading, writing = os.pipe()
        self.files.append(os.fdopen(writing, "wb", 0))
        made = self.loop.connect_read_pipe(self.tied, os.fdopen(reading, "rb", 0))
        return (await made)[0]

    async def write_pipe(self):
        reading, writing = os.pipe()
        self.files.append(os.fdopen(reading, "rb", 0))
        made = self.loop.connect_write_pipe(self.tied, os.fdopen(writing, "wb", 0))
        transport = (await made)[0]
        transport.write(bytes(1 << 20))
        return transport

    async def stream_reader(self):
        reader, writer = await asyncio.open_connection(sock=self.pair()[0])
        reader.node = writer.node = self.node
        self.node.writer = writer
        return reader

    async def stream_reader_that_is_read(self):
        reader = await self.stream_reader()
        self.node.task = self.quiet(self.loop.create_task(reader.readline()))
        await asyncio.sleep(0)
        return reader

    async def watches(self):
        ours, _ = self.pair()
        self.loop.add_reader(ours, self.node, self.loop)
        self.loop.add_writer(ours, self.node, self.loop)
        return self.node

    async def waiting_sock_call(self):
        task = self.loop.create_task(self.loop.sock_recv(self.pair()[0], 10))
        await asyncio.sleep(0)
        return self.quiet(task)

    async def child(self):
        transport, _ = await self.loop.subprocess_exec(self.tied, "/bin/cat")
        self.files.append(Reaped(transport.get_pid()))
        return transport

    async def future_of_an_executor(self):
        go, gone = threading.Event(), threading.Event()
        self.files.append(Finished(go, gone))

        def work():
            go.wait()
            gone.set()

        return self.loop.run_in_executor(None, work)

    async def future_of_the_resolver(self):
        return self.quiet(self.loop.create_task(self.loop.getaddrinfo("localhost", 80)))

    async def signal_handler(self):
        self.loop.add_signal_handler(signal.SIGUSR1, self.node)
        self.files.append(Plain(signal.SIGUSR1))
        return self.node


class Reaped:
    """A child: ends when its pipes are closed, and is reaped here if nobody has."""

    def __init__(self, pid):
        self.pid = pid

    def close(self):
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:
            pass


class Finished:
    def __init__(self, go, gone):
        self.go, self.gone = go, gone

    def close(self):
        self.go.set()
        self.gone.wait()


class Plain:
    def __init__(self, number):
        self.number = number

    def close(self):
        signal.signal(self.number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)


WAYS = [name for name in vars(Cycle) if name not in ("pair", "tied", "quiet") and name[0] != "_"]


def forgotten(loop_factory, way):
    """Weak references to the loop, the node and what was made; and what is left to be closed."""
    loop = loop_factory()
    cycle = Cycle(loop)
    thing = loop.run_until_complete(getattr(cycle, way)())
    cycle.node.thing = thing
    if hasattr(thing, "__dict__"):
        thing.cycle = cycle.node
    elif asyncio.isfuture(thing):
        thing.add_done_callback(cycle.node)
    made = [loop, cycle.node]
    try:
        weakref.ref(thing)
        made.append(thing)
    except TypeError:
        pass  # a handle of asyncio's own has no place for weak references
    return [weakref.ref(thing) for thing in made], cycle.files


@pytest.mark.oxloop_only
@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
@pytest.mark.parametrize("way", WAYS)
def test_a_cycle_is_collected(loop_factory, no_leaked_fds, soon, monkeypatch, way, closed):
    # Coroutines that are closed beside a closed loop complain, on asyncio as well.
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    references, files = forgotten(loop_factory, way)
    if closed:
        references[0]().close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if way == "future_of_an_executor":
            files.pop().close()  # its thread holds what it works on
        for _ in range(3):
            gc.collect()
        for file in files:
            file.close()
        soon(lambda: [reference() for reference in references] == [None] * len(references))


@pytest.fixture
def soon():
    """What threads still hold is let go of a little later: waits, collecting."""

    def wait(predicate):
        end = time.monotonic() + 10
        while not predicate():
            assert time.monotonic() < end, "something is kept"
            time.sleep(0.005)
            gc.collect()

    return wait
