"""When streams are native, and when they are asyncio's own again."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import textwrap
import weakref
from unittest import mock

import pytest
from support import eventually, spin
from tls_support import client_context, server_context

from oxloop import _streams

pytestmark = pytest.mark.oxloop_only


def is_native(thing):
    return type(thing) in (
        _streams.StreamReader,
        _streams.StreamReaderProtocol,
        _streams.StreamWriter,
    )


@contextlib.asynccontextmanager
async def connection(make_reader=asyncio.StreamReader, make=asyncio.StreamReaderProtocol):
    """A server's protocol over a reader, each made by what is given; yields it and the peer."""
    loop = asyncio.get_running_loop()
    made = loop.create_future()

    def factory():
        reader = make_reader()
        made.set_result((reader, make(reader)))
        return made.result()[1]

    server = await loop.create_server(factory, "127.0.0.1", 0)
    _, far = await asyncio.open_connection(*server.sockets[0].getsockname())
    reader, protocol = await made
    await eventually(lambda: protocol._transport is not None)
    yield reader, protocol, far
    if protocol._transport is not None:
        protocol._transport.abort()
    far.transport.abort()
    await eventually(lambda: protocol._transport is None)
    server.close()
    await server.wait_closed()


def play(run, loop, scene, *args, **kwargs):
    async def main():
        async with connection(*args, **kwargs) as connected:
            await asyncio.wait_for(scene(*connected), 20)

    run(main())
    spin(loop)


def test_streams_of_a_server_and_of_a_client(loop, run):
    async def main():
        made = loop.create_future()
        server = await asyncio.start_server(lambda *pair: made.set_result(pair), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert is_native(reader) and is_native(writer.transport.get_protocol())
        for thing in (*await made, (await made)[1].transport.get_protocol()):
            assert is_native(thing)
        for end in (writer, (await made)[1]):
            end.close()
            await end.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


def test_streams_over_tls(loop, run):
    async def main():
        made = loop.create_future()
        server = await asyncio.start_server(
            lambda *pair: made.set_result(pair), "127.0.0.1", 0, ssl=server_context()
        )
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(
            *address, ssl=client_context(), server_hostname="localhost"
        )
        far_reader, far_writer = await made
        assert is_native(reader) and is_native(far_reader) and is_native(far_writer)
        for _ in range(3):
            far_writer.write(b"line\n" * 3)
            await far_writer.drain()
            assert await reader.readline() == b"line\n"
            assert await reader.readexactly(10) == b"line\n" * 2
        far_writer.close()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


def test_a_plain_pair_is_native(loop, run):
    async def scene(reader, protocol, far):
        assert is_native(reader) and is_native(protocol)
        coro = reader.readline()
        assert type(coro).__name__ == "StreamCoroutine"
        coro.close()

    play(run, loop, scene)


class Reader(asyncio.StreamReader):
    def feed_data(self, data):
        super().feed_data(data.upper())


class Protocol(asyncio.StreamReaderProtocol):
    def data_received(self, data):
        super().data_received(data.upper())


def assigned_reader():
    reader = asyncio.StreamReader()
    feed = reader.feed_data
    reader.feed_data = lambda data: feed(data.upper())
    return reader


def assigned_protocol(reader):
    protocol = asyncio.StreamReaderProtocol(reader)
    receive = protocol.data_received
    protocol.data_received = lambda data: receive(data.upper())
    return protocol


@pytest.mark.parametrize(
    "kinds",
    [
        {"make_reader": Reader},
        {"make_reader": assigned_reader},
        {"make": Protocol},
        {"make": assigned_protocol},
    ],
)
def test_what_is_overridden_stays_asyncios(loop, run, kinds):
    async def scene(reader, protocol, far):
        assert not is_native(reader) or not is_native(protocol)
        far.write(b"line\n")
        assert await reader.readline() == b"LINE\n"

    play(run, loop, scene, **kinds)


def test_an_unusual_reader_stays_asyncios(loop, run):
    def odd():
        reader = asyncio.StreamReader()
        reader._limit = 1e6
        return reader

    async def scene(reader, protocol, far):
        assert not is_native(reader)
        far.write(b"line\n")
        assert await reader.readline() == b"line\n"

    play(run, loop, scene, odd)


def test_assigning_to_a_method_of_a_reader(loop, run):
    async def scene(reader, protocol, far):
        far.write(b"one\n")
        await eventually(lambda: len(reader._buffer) == 4)
        feed = reader.feed_data
        reader.feed_data = lambda data: asyncio.StreamReader.feed_data(reader, data.upper())
        assert type(reader) is asyncio.StreamReader
        assert vars(reader)["_buffer"] == b"one\n" and vars(reader)["_transport"]
        far.write(b"two\n")
        assert await reader.readline() == b"one\n"
        assert await reader.readline() == b"TWO\n"
        del feed

    play(run, loop, scene)


def test_assigning_to_a_method_of_a_protocol(loop, run):
    async def scene(reader, protocol, far):
        protocol.data_received = lambda data: reader.feed_data(data.upper())
        assert type(protocol) is asyncio.StreamReaderProtocol
        far.write(b"two\n")
        assert await reader.readline() == b"TWO\n"

    play(run, loop, scene)


def test_what_is_hardly_asked_for_is_made_late(loop, run):
    async def scene(reader, protocol, far):
        assert is_native(protocol)
        assert vars(protocol)["_drain_waiters"] is None
        assert len(protocol._drain_waiters) == 0
        assert protocol._drain_waiters is protocol._drain_waiters

    play(run, loop, scene)


def test_what_was_not_made_yet_is_given_back(loop, run):
    async def scene(reader, protocol, far):
        protocol.eof_received = lambda: None
        assert not is_native(protocol)
        assert len(vars(protocol)["_drain_waiters"]) == 0
        closed = protocol._closed
        far.close()
        await closed

    play(run, loop, scene)


def test_the_future_of_a_writer_is_made_late(loop, run):
    async def main():
        made = loop.create_future()
        server = await asyncio.start_server(lambda *pair: made.set_result(pair), "127.0.0.1", 0)
        _, far = await asyncio.open_connection(*server.sockets[0].getsockname())
        _, writer = await made
        assert vars(writer)["_complete_fut"] is None
        assert writer._complete_fut.done() and writer._complete_fut is writer._complete_fut
        del vars(writer)["_complete_fut"]
        with pytest.raises(AttributeError, match=r"^_complete_fut$"):
            _ = writer._complete_fut
        writer._complete_fut = None
        writer.drain = writer.drain
        assert not is_native(writer) and writer._complete_fut.done()
        for end in (writer, far):
            end.close()
            await end.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


@pytest.mark.parametrize("name", ["readline", "_wait_for_data", "feed_data"])
def test_patching_the_class_of_readers(loop, run, name):
    original = getattr(asyncio.StreamReader, name)

    async def scene(reader, protocol, far):
        far.write(b"one\n")
        assert await reader.readline() == b"one\n"
        with mock.patch.object(
            asyncio.StreamReader, name, autospec=True, side_effect=original
        ) as patched:
            task = asyncio.create_task(reader.readline())
            await asyncio.sleep(0)
            far.write(b"two\n")
            assert await task == b"two\n"
            assert patched.called
        far.write(b"three\n")
        assert await reader.readline() == b"three\n"

    play(run, loop, scene)


def test_patching_the_class_of_protocols(loop, run):
    original = asyncio.StreamReaderProtocol.data_received

    def shout(self, data):
        original(self, data.upper())

    async def scene(reader, protocol, far):
        with mock.patch.object(asyncio.StreamReaderProtocol, "data_received", shout):
            far.write(b"one\n")
            assert await reader.readline() == b"ONE\n"
        far.write(b"two\n")
        assert await reader.readline() == b"two\n"

    play(run, loop, scene)
    assert asyncio.StreamReaderProtocol.data_received is original


def test_patching_while_a_read_waits(loop, run):
    async def scene(reader, protocol, far):
        task = asyncio.create_task(reader.readexactly(6))
        await asyncio.sleep(0)
        reader._maybe_resume_transport = mock.Mock()
        assert type(reader) is asyncio.StreamReader
        far.write(b"abc")
        far.write(b"defg")
        assert await task == b"abcdef"
        assert reader._maybe_resume_transport.called
        task = asyncio.create_task(reader.readexactly(6))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert reader._waiter is None

    play(run, loop, scene)


def test_cancelled_after_the_reader_was_given_back(loop, run):
    async def scene(reader, protocol, far):
        task = asyncio.create_task(reader.readexactly(6))
        await asyncio.sleep(0)
        reader.read = None
        assert reader._waiter is not None
        task.cancel()
        await asyncio.wait([task])
        assert reader._waiter is None

    play(run, loop, scene)


def test_a_patched_drain(loop, run):
    async def main():
        made = loop.create_future()
        server = await asyncio.start_server(lambda *pair: made.set_result(pair), "127.0.0.1", 0)
        _, far = await asyncio.open_connection(*server.sockets[0].getsockname())
        reader, writer = await made
        assert is_native(writer)
        with mock.patch.object(asyncio.StreamWriter, "drain") as drain:
            await writer.drain()
            assert drain.called
        await writer.drain()
        writer._transport = mock.Mock(is_closing=lambda: True, **{"close.return_value": None})
        assert type(writer) is asyncio.StreamWriter
        await writer.drain()
        protocol = far.transport.get_protocol()
        with mock.patch.object(asyncio.StreamReaderProtocol, "_drain_helper") as drain:
            await far.drain()
            assert drain.called
        protocol._transport.abort()
        reader._transport.abort()
        server.close()
        await server.wait_closed()

    run(main())
    spin(loop)


def test_a_transport_with_a_method_of_its_own(loop, run):
    async def main():
        made = loop.create_future()
        server = await asyncio.start_server(lambda *pair: made.set_result(pair), "127.0.0.1", 0)
        _, far = await asyncio.open_connection(*server.sockets[0].getsockname())
        reader, writer = await made
        writer.transport.is_closing = mock.Mock(return_value=False)
        await writer.drain()
        assert writer.transport.is_closing.called
        far.transport.abort()
        writer.transport.abort()
        server.close()
        await server.wait_closed()

    run(main())
    spin(loop)


def test_no_byte_is_lost_by_start_tls(loop, run):
    async def upgraded(reader, writer):
        assert is_native(reader)
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go\n")
        await writer.start_tls(server_context())
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(upgraded, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go\n"
        await writer.start_tls(client_context(), server_hostname="localhost")
        for line in (b"one\n", b"two\n"):
            writer.write(line)
            await writer.drain()
            assert await reader.readline() == line
        assert is_native(reader)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    if hasattr(asyncio.StreamWriter, "start_tls"):
        run(main())


def test_cycles_are_collected(loop, run):
    """A task that waits for data that cannot come any more, and everything around it."""

    async def scene(reader, protocol, far):
        async def wait():
            await reader.readline()

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task._log_destroy_pending = False
        return [weakref.ref(thing) for thing in (reader, protocol, task)]

    async def main():
        async with connection() as connected:
            return await scene(*connected)

    there = run(main())
    spin(loop)
    gc.collect()
    assert [ref() for ref in there] == [None] * 3


def test_the_inflow_is_visited(loop, run):
    async def scene(reader, protocol, far):
        inflow = vars(reader)["_buffer"]
        assert type(inflow) is not bytearray
        task = asyncio.create_task(reader.readline())
        await asyncio.sleep(0)
        reader._exception = error = ValueError()
        seen = gc.get_referents(inflow)
        for thing in (reader._waiter, reader._transport, loop, error):
            assert any(thing is other for other in seen)
        assert any(inflow is other for other in gc.get_referents(reader._transport))
        reader._exception = None
        coro = reader.readuntil(b"separator")
        assert reader in gc.get_referents(coro) and inflow in gc.get_referents(coro)
        coro.close()
        task.cancel()
        await asyncio.wait([task])

    play(run, loop, scene)


BEFORE_THE_IMPORT = """
import asyncio

{change}

import oxloop

async def handle(reader, writer):
    writer.write(await reader.readline())
    writer.close()

async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"line\\n")
    print(await reader.readline(), type(vars(reader)["_buffer"]).__name__)
    writer.close()

oxloop.run(main())
"""
PATCHED = """
feed = asyncio.StreamReader.feed_data
asyncio.StreamReader.feed_data = lambda self, data: feed(self, data.upper())
"""
REPLACED = """
class StreamReader(asyncio.StreamReader):
    def feed_data(self, data):
        super().feed_data(data.upper())

asyncio.streams.StreamReader = StreamReader
"""


@pytest.mark.parametrize(
    "change, seen",
    [
        ("", "b'line\\n' Inflow"),
        (PATCHED, "b'LINE\\n' bytearray"),
        (REPLACED, "b'LINE\\n' bytearray"),
    ],
)
def test_changed_before_oxloop_is_imported(change, seen):
    script = BEFORE_THE_IMPORT.format(change=textwrap.dedent(change))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=25
    )
    assert (done.stdout.strip(), done.stderr) == (seen, "")
