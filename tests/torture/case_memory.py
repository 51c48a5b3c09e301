"""Allocations that fail, one after the other: every call of the API, with the memory running out at
its first allocation, its second, ...; whatever comes out, the loop is usable afterwards.

The interpreter itself does not survive every failed allocation, so only what oxloop does is tried,
in steps that are small, each from a state that was prepared with memory.
"""

import asyncio
import contextlib
import gc
import os
import socket
import sys

from cases import case, check_usable
from support import spin
from tls_support import client_context, server_context
from workload import Echo

ENOUGH = 400


class Steps:
    """Each method prepares something and returns the calls that are to run without memory."""

    def __init__(self, loop):
        self.loop, self.things, self.is_stepping = loop, [], False

    def pair(self):
        pair = socket.socketpair()
        for sock in pair:
            sock.setblocking(False)
        self.things += pair
        return pair

    def stream(self, protocol=None):
        ours, peer = self.pair()
        self.things.remove(ours)
        transport, _ = self.loop.run_until_complete(
            self.loop.create_connection(lambda: protocol or Echo(), sock=ours)
        )
        self.things.append(transport)
        spin(self.loop)
        return transport, peer

    def soon(self):
        return [lambda: self.loop.call_soon(int)]

    def soon_with_arguments(self):
        return [lambda: self.loop.call_soon(max, 1, 2, 3, 4, 5)]

    def later(self):
        return [lambda: self.loop.call_later(0.5, int), lambda: self.loop.call_at(5.0, int)]

    def from_threads(self):
        return [lambda: self.loop.call_soon_threadsafe(int)]

    def cancelled_timer(self):
        timer = self.loop.call_later(100, int)
        return [lambda: timer.cancel()]

    def watches(self):
        ours, _ = self.pair()
        loop = self.loop
        return [
            lambda: loop.add_reader(ours, int),
            lambda: loop.add_writer(ours, int),
            lambda: loop.remove_reader(ours),
            lambda: loop.remove_writer(ours),
        ]

    def a_turn(self):
        for _ in range(3):
            self.loop.call_soon(int)
        self.loop.call_later(0, int)
        return [lambda: self.run_a_turn()]

    def run_a_turn(self):
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def a_turn_that_reads(self):
        transport, peer = self.stream()
        peer.send(b"data")
        return [lambda: self.run_a_turn()]

    def a_turn_of_streams(self):
        ours, peer = self.pair()
        self.things.remove(ours)
        opening = asyncio.open_connection(sock=ours)
        reader, writer = self.loop.run_until_complete(opening)
        self.things.append(writer.transport)
        reading = reader.readline()
        self.things.append(reading)
        with contextlib.suppress(StopIteration):
            asyncio._set_running_loop(self.loop)
            try:
                reading.send(None)
            finally:
                asyncio._set_running_loop(None)
        peer.send(b"some data\n" * 10)
        return [
            lambda: self.run_a_turn(),
            # Not one that is dropped: 3.12 and 3.13 crash when there is no memory for a warning.
            lambda: reader.read(5).close(),
            lambda: reader._buffer,
            lambda: reader.feed_data(b"more"),
            lambda: writer.drain().close(),
        ]

    def writes(self):
        transport, _ = self.stream()
        return [
            lambda: transport.write(b"data"),
            lambda: transport.write(bytes(100)),
            lambda: transport.writelines([b"a", b"b"]),
            lambda: transport.get_extra_info("peername"),
            lambda: transport.pause_reading(),
            lambda: transport.resume_reading(),
            lambda: transport.close(),
        ]

    def full_writes(self):
        transport, _ = self.stream()
        return [lambda: transport.write(bytes(1_000_000)), lambda: transport.write(b"x")]

    def aborts(self):
        transport, _ = self.stream()
        return [lambda: transport.abort(), lambda: self.run_a_turn()]

    def accepts(self):
        server = self.loop.run_until_complete(self.loop.create_server(Echo, "127.0.0.1", 0))
        self.things.append(server)
        client = socket.create_connection(server.sockets[0].getsockname())
        self.things.append(client)
        return [lambda: self.run_a_turn()]

    def datagrams(self):
        transport, _ = self.loop.run_until_complete(
            self.loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
        )
        self.things.append(transport)
        address = transport.get_extra_info("sockname")
        return [
            lambda: transport.sendto(b"data", address),
            lambda: transport.sendto(b"more", address),
            lambda: self.run_a_turn(),
        ]

    def stepped(self, coroutine):
        """The first step of a coroutine, which is then closed."""
        self.is_stepping = True
        asyncio._set_running_loop(self.loop)
        try:
            coroutine.send(None)
        except StopIteration:
            pass
        finally:
            asyncio._set_running_loop(None)
            coroutine.close()

    def sock_calls(self):
        sock = socket.socket(type=socket.SOCK_DGRAM)
        self.things.append(sock)
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        address = sock.getsockname()
        for _ in range(3):
            sock.sendto(b"data", address)
        ours, peer = self.pair()
        peer.send(b"data")
        loop, buffer = self.loop, bytearray(10)
        return [
            lambda: self.stepped(loop.sock_recvfrom(sock, 10)),
            lambda: self.stepped(loop.sock_recvfrom_into(sock, buffer)),
            lambda: self.stepped(loop.sock_sendto(sock, b"data", address)),
            lambda: self.stepped(loop.sock_recv(ours, 10)),
            lambda: self.stepped(loop.sock_sendall(ours, b"data")),
            lambda: self.stepped(loop.sock_recv(ours, 10)),
        ]

    def layers(self):
        """What `tls` does, with one more layer."""
        return self.tls(2)

    def tls(self, layers=1):
        ours, peer = self.pair()
        self.things = self.things[:-2]

        async def both():
            return await asyncio.gather(
                self.loop.create_connection(
                    Echo, sock=ours, ssl=CONTEXTS[0], server_hostname="localhost"
                ),
                self.loop.connect_accepted_socket(asyncio.Protocol, peer, ssl=CONTEXTS[1]),
            )

        async def again(below):
            return await asyncio.gather(
                self.loop.start_tls(below[0], Echo(), CONTEXTS[0], server_hostname="localhost"),
                self.loop.start_tls(below[1], asyncio.Protocol(), CONTEXTS[1], server_side=True),
            )

        (transport, _), (other, _) = self.loop.run_until_complete(both())
        for _ in range(layers - 1):
            transport, other = self.loop.run_until_complete(again((transport, other)))
        self.things += [transport, other]
        spin(self.loop)
        return [
            lambda: transport.write(b"data"),
            lambda: other.write(bytes(100_000)),
            lambda: self.run_a_turn(),
            lambda: self.run_a_turn(),
            lambda: transport.get_extra_info("cipher"),
            lambda: transport.close(),
            lambda: self.run_a_turn(),
        ]

    def pipes(self):
        reading, writing = os.pipe()
        opened = self.loop.connect_read_pipe(asyncio.Protocol, os.fdopen(reading, "rb", 0))
        source, _ = self.loop.run_until_complete(opened)
        opened = self.loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(writing, "wb", 0))
        target, _ = self.loop.run_until_complete(opened)
        self.things += [Closed(source), target]
        spin(self.loop)
        return [
            lambda: target.write(b"data"),
            lambda: target.write(bytes(100_000)),
            lambda: self.run_a_turn(),
            lambda: target.close(),
            lambda: self.run_a_turn(),
        ]

    def tasks(self):
        async def main():
            await asyncio.sleep(0)

        task = self.loop.create_task(main())
        self.things.append(task)
        return [lambda: self.run_a_turn()]

    def futures(self):
        return [lambda: self.loop.create_future()]

    def debug(self):
        return [lambda: self.loop.set_debug(True), lambda: self.loop.set_debug(False)]

    def close(self):
        for thing in self.things:
            if hasattr(thing, "abort"):
                thing.abort()
            elif hasattr(thing, "cancel"):
                thing.cancel()
            else:
                thing.close()
        self.things.clear()


class Closed:
    """A transport that has no `abort()`."""

    def __init__(self, transport):
        self.transport = transport

    def close(self):
        self.transport.close()


CONTEXTS = client_context(), server_context()
HELPERS = ("pair", "stream", "run_a_turn", "stepped", "close")
WAYS = [name for name in vars(Steps) if name not in HELPERS and not name.startswith("_")]


def is_lost(error):
    """The interpreter's own, which asyncio's loop meets as well: 3.11 and 3.12 may have no memory
    to make a KeyError, and then for what says so; `ssl` makes its error of a MemoryError that is
    still set."""
    texts = ["<class 'ssl.SSLError'> returned a result with an exception set"]
    if sys.version_info < (3, 13):
        texts.append("error return without exception set")
    return isinstance(error, SystemError) and any(text in str(error) for text in texts)


def check_nothing_is_set():
    """What a run sets for its thread is taken back."""
    assert asyncio._get_running_loop() is None
    assert sys.get_asyncgen_hooks() == (None, None)
    assert sys.get_coroutine_origin_tracking_depth() == 0


def sweep_case(way):
    def without_memory(t):
        import _testcapi

        def fail(call, first, count):
            """Calls with the allocations from `first` on failing, `count` of them."""
            _testcapi.set_nomemory(first, first + count)
            try:
                call()
            except BaseException as exc:
                # Without the cycle through this frame: 3.11 has sixteen prepared MemoryErrors, and
                # ends the process when it needs one more.
                error = exc.with_traceback(None)
                error.__context__ = None
            else:
                error = None
            finally:
                _testcapi.remove_mem_hooks()
            return error

        sys.unraisablehook = lambda args: None
        for count in (1, 2, 1000):
            with t.loop() as loop:
                number = len(getattr(Steps(loop), way)())
            for at in range(number):
                calm = 0
                for first in range(t.scale(60, ENOUGH)):
                    loop = t.new_event_loop()
                    loop.set_exception_handler(lambda loop, context: None)
                    steps = Steps(loop)
                    calls = getattr(steps, way)()
                    for call in calls[:at]:
                        with contextlib.suppress(MemoryError, RuntimeError):
                            call()
                    error = fail(calls[at], first, count)
                    # Whatever came out: MemoryError, or one that stands for it.
                    if is_lost(error):
                        t.count("MemoryErrors that the interpreter lost")
                    elif error is not None:
                        assert isinstance(error, (MemoryError, OSError)), repr(error)
                    t.count("allocations failed", int(error is not None))
                    t.count("sweeps")
                    del calls
                    steps.close()
                    if steps.is_stepping:  # 3.11 may have had no memory to take it back
                        asyncio._set_running_loop(None)
                    check_nothing_is_set()
                    spin(loop)  # a `stop()` may be left
                    check_usable(loop)
                    loop.close()
                    calm = calm + 1 if error is None else 0
                    if calm > 25:
                        break
        gc.collect()
        t.take_unraisable()

    return without_memory


#: What an interpreter does not survive itself, and asyncio's own loop no more than oxloop's.
FATAL = {}
if sys.version_info[:2] == (3, 13):
    FATAL["tasks"] = "3.13's task steps corrupt a dict without memory; asyncio's loop crashes, too"

#: Long ones, most of whose steps others have, too.
LONG = {"layers"}

for way in WAYS:
    case(seconds=40, name=f"without_{way}", left_out=FATAL.get(way), only_full=way in LONG)(
        sweep_case(way)
    )
