"""What programs see of asyncio's readers and writers, step into and replace; draining."""

import asyncio
import gc
import inspect
import weakref

import pytest
from stream_support import Peers
from support import eventually, since


def test_feeding_by_hand(peers):
    async def scene(peers, reader):
        for data in (b"bytes ", bytearray(b"array "), memoryview(b"view "), b""):
            reader.feed_data(data)
        await peers.send(b"sent ")
        reader.feed_data(b"end")
        reader.feed_eof()
        assert await reader.read() == b"bytes array view sent end"
        with pytest.raises(AssertionError, match="feed_data after feed_eof"):
            reader.feed_data(b"x")
        assert reader.at_eof()

    peers(scene)


def test_the_buffer_can_be_looked_at(peers):
    async def scene(peers, reader):
        await peers.send(b"one\ntwo\n")
        buffer = reader._buffer
        assert type(buffer) is bytearray and buffer == b"one\ntwo\n"
        assert reader._buffer is buffer
        assert await reader.readline() == b"one\n"
        assert buffer == b"two\n"
        await peers.send(b"three\n")
        assert buffer == b"two\nthree\n"
        del buffer[:4]
        assert await reader.readline() == b"three\n"
        assert not buffer
        buffer.extend(b"by hand\n")
        assert await reader.readexactly(3) == b"by "
        reader._buffer.clear()
        del buffer
        await peers.send(b"on")
        reader._buffer = bytearray(b"another\n")
        assert await reader.readline() == b"another\n"

    peers(scene)


def test_the_state_can_be_looked_at(peers):
    async def scene(peers, reader):
        assert reader._limit == 100 and reader._eof is False and reader._paused is False
        assert reader._exception is None and reader._waiter is None
        assert reader._transport is peers.writer.transport
        assert reader._loop is asyncio.get_running_loop()
        reader._limit = 3
        await peers.send(b"12345\n")
        with pytest.raises(ValueError, match="longer than limit"):
            await reader.readline()
        task = await peers.waiting(reader.readline())
        assert isinstance(reader._waiter, asyncio.Future)
        task.cancel()
        await asyncio.wait([task])
        with pytest.raises(AssertionError, match="Transport already set"):
            reader.set_transport(peers.writer.transport)

    peers(scene, limit=100)


def test_repr(peers):
    async def scene(peers, reader):
        await peers.send(b"data")
        transport = reader._transport
        assert repr(reader) == f"<StreamReader 4 bytes limit=100 transport={transport!r}>"
        await reader.read(4)
        reader.set_exception(ValueError("text"))
        assert "exception=ValueError('text')" in repr(reader)
        assert repr(peers.writer).startswith("<StreamWriter transport=<")

    peers(scene, limit=100)


def test_the_task_says_what_it_waits_in(peers):
    async def scene(peers, reader):
        task = await peers.waiting(reader.readline())
        assert "readline" in repr(task)
        assert task.get_stack() is not None
        task.cancel()
        await asyncio.wait([task])

    peers(scene)


def test_readers_are_asyncios(peers):
    async def scene(peers, reader):
        assert isinstance(reader, asyncio.StreamReader)
        assert isinstance(peers.writer, asyncio.StreamWriter)
        assert type(reader).__name__ == "StreamReader"
        assert isinstance(peers.writer.transport.get_protocol(), asyncio.StreamReaderProtocol)
        other = type(reader)(limit=5)
        other.feed_data(b"x\n")
        assert other._limit == 5 and await other.readline() == b"x\n"

    peers(scene)


@since(3, 12)
def test_a_reader_that_is_gone(loop, run):
    """Nobody reads any more: what comes is dropped, and the connection stays."""

    async def main():
        peers = await Peers().open()
        there = weakref.ref(peers.reader)
        peers.reader = peers.writer._reader = None
        await asyncio.sleep(0)
        gc.collect()
        assert there() is None
        peers.far.write(b"to nobody")
        await asyncio.sleep(0.01)
        if not peers.writer.is_closing():
            peers.writer.write(b"still there")
            assert await peers.far_reader.readexactly(11) == b"still there"
        await peers.close()

    run(main())


def test_drain(peers):
    async def scene(peers, reader):
        writer = peers.writer
        coro = writer.drain()
        assert asyncio.iscoroutine(coro)
        assert await coro is None
        assert await asyncio.create_task(writer.drain()) is None
        coro = writer.transport.get_protocol()._drain_helper()
        assert asyncio.iscoroutine(coro) and await coro is None
        with pytest.raises(TypeError):
            writer.drain(1)

    peers(scene)


def test_drain_waits_until_the_peer_reads(peers):
    async def scene(peers, reader):
        writer, protocol = peers.writer, peers.writer.transport.get_protocol()
        peers.far.transport.pause_reading()
        while not protocol._paused:  # on a busy machine the kernel goes on taking for a while
            while not protocol._paused:
                writer.write(bytes(1 << 16))
            await asyncio.sleep(0.02)
        tasks = [asyncio.ensure_future(writer.drain()) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in tasks)
        drained = asyncio.gather(*tasks)
        peers.far.transport.resume_reading()
        while not drained.done():
            await peers.far_reader.read(1 << 20)
        await drained
        peers.far.transport.abort()

    peers(scene)


def test_drain_while_closing(peers):
    async def scene(peers, reader):
        protocol = peers.writer.transport.get_protocol()
        peers.writer.close()
        with pytest.raises(ConnectionResetError, match="Connection lost"):
            await peers.writer.drain()
        with pytest.raises(ConnectionResetError, match="Connection lost"):
            await protocol._drain_helper()

    peers(scene)


def test_another_protocol_in_mid_stream(peers):
    async def scene(peers, reader):
        received = []

        class Protocol(asyncio.Protocol):
            def data_received(self, data):
                received.append(data)

        await peers.send(b"before ")
        transport, old = peers.writer.transport, peers.writer.transport.get_protocol()
        transport.set_protocol(Protocol())
        peers.far.write(b"between")
        await eventually(lambda: received)
        assert received == [b"between"] and reader._buffer == b"before "
        transport.set_protocol(old)
        await peers.send(b"after")
        assert await reader.read(100) == b"before after"

    peers(scene)


def test_a_stream_over_a_given_transport(loop, run, listener):
    """As programs do it that make a transport themselves."""

    async def main():
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        address = listener.getsockname()
        transport, _ = await loop.create_connection(asyncio.Protocol, *address)
        peer, _ = await loop.sock_accept(listener)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        await loop.sock_sendall(peer, b"line\n")
        assert await reader.readline() == b"line\n"
        peer.close()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    run(main())


def test_waiting_for_futures_that_are_done(peers, loop):
    """However many a loop of somebody's hands out."""

    async def scene(peers, reader):
        create_future, left = loop.create_future, 100_000

        def done_already():
            nonlocal left
            left -= 1
            future = create_future()
            if left > 0:
                future.set_result(None)
            return future

        task = asyncio.ensure_future(reader.readexactly(5))
        loop.create_future = done_already
        await asyncio.sleep(0)
        del loop.create_future
        assert left == 0 and not task.done()
        peers.far.write(b"hello")
        assert await task == b"hello"

    peers(scene)


#: Methods, arguments, and what they return, if they are no coroutines.
METHODS = {
    "feed_data": ([b"fed"], None),
    "readline": ([], None),
    "readuntil": ([b"l"], None),
    "readexactly": ([3], None),
    "read": ([5], None),
    "__anext__": ([], None),
    "at_eof": ([], False),
    "exception": ([], None),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("where", ["instance", "class"])
def test_a_method_that_is_wrapped(peers, monkeypatch, name, where):
    """As tracing tools do it: what was taken before is called by what takes its place."""
    arguments, expected = METHODS[name]

    async def scene(peers, reader):
        await peers.send(b"a line\n")
        taken, calls = getattr(reader, name), []

        def wrapped(*args):
            calls.append(name)
            return taken(*args[where == "class" :])

        monkeypatch.setattr(reader if where == "instance" else asyncio.StreamReader, name, wrapped)
        try:
            for _ in range(2):
                before = len(reader._buffer)
                result = getattr(reader, name)(*arguments)
                if inspect.isawaitable(result):
                    result = await result
                    assert len(reader._buffer) == before - len(result)
                    peers.far.write(result)
                    # Awaited in this round of the loop: the lambda sees this round's names.
                    await eventually(lambda: len(reader._buffer) == before)  # noqa: B023
                else:
                    assert result == expected
                    assert len(reader._buffer) == before + 3 * (name == "feed_data")
        finally:
            monkeypatch.undo()
        assert calls == [name] * 2

    peers(scene)


@pytest.mark.parametrize("where", ["instance", "class"])
def test_a_drain_that_is_wrapped(peers, monkeypatch, where):
    async def scene(peers, reader):
        taken, calls = peers.writer.drain, []

        def wrapped(*args):
            calls.append("drain")
            return taken()

        owner = peers.writer if where == "instance" else asyncio.StreamWriter
        monkeypatch.setattr(owner, "drain", wrapped)
        try:
            for _ in range(2):
                peers.writer.write(b"x")
                await peers.writer.drain()
        finally:
            monkeypatch.undo()
        assert calls == ["drain"] * 2

    peers(scene)
