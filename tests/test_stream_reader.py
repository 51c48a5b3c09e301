"""Readers of asyncio's streams: every method and corner, the same on asyncio and natively."""

import asyncio
import contextvars
import gc
import inspect
import warnings

import pytest
from support import eventually, since

IncompleteReadError, LimitOverrunError = asyncio.IncompleteReadError, asyncio.LimitOverrunError


CALLS = {
    "readline": (lambda reader: reader.readline(), b"a line\n"),
    "readuntil": (lambda reader: reader.readuntil(b"--"), b"a part--"),
    "readuntil_line": (lambda reader: reader.readuntil(), b"a line\n"),
    "readexactly": (lambda reader: reader.readexactly(7), b"exactly"),
    "read": (lambda reader: reader.read(100), b"some"),
    "anext": (lambda reader: reader.__anext__(), b"a line\n"),
}


@pytest.fixture(params=CALLS)
def call(request):
    return CALLS[request.param]


def test_data_that_is_there_is_read_without_waiting(peers, call):
    read, data = call

    async def scene(peers, reader):
        await peers.send(data)
        coro = read(reader)
        with pytest.raises(StopIteration) as stopped:
            coro.send(None)
        assert stopped.value.value == data
        assert type(stopped.value.value) is bytes
        assert not reader._buffer

    peers(scene)


def test_data_is_waited_for(peers, call):
    read, data = call

    async def scene(peers, reader):
        task = await peers.waiting(read(reader))
        assert reader._waiter is not None
        peers.far.write(data)
        assert await task == data
        assert reader._waiter is None

    peers(scene)


def test_data_in_many_pieces(peers, call):
    read, data = call
    pieces = [bytes([byte]) for byte in data[:-1]]
    if read is CALLS["read"][0]:
        pieces = []  # one is enough

    async def scene(peers, reader):
        task = await peers.waiting(read(reader))
        for piece in pieces:
            await peers.send(piece)
            assert not task.done()
        if pieces:
            peers.far.write(data[-1:] + b"rest")
            assert await task == data
            assert reader._buffer == b"rest"
        else:
            peers.far.write(data)
            assert await task == data

    peers(scene)


def test_nothing_happens_before_the_await(peers, call):
    read, data = call

    async def scene(peers, reader):
        coro = read(reader)
        await peers.send(data)
        assert reader._buffer == data
        assert await coro == data

    peers(scene)


def test_what_is_returned_is_a_coroutine(peers, call):
    read, data = call

    async def scene(peers, reader):
        coro = read(reader)
        assert asyncio.iscoroutine(coro)
        assert inspect.isawaitable(coro)
        assert coro.__qualname__.startswith("StreamReader.")
        assert coro.__name__ in coro.__qualname__
        assert "StreamReader" in repr(coro)
        await peers.send(data * 3)
        assert await coro == data if read is not CALLS["read"][0] else await coro
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await coro
        if read is CALLS["read"][0]:
            await peers.send(data * 2)
            assert await asyncio.create_task(reader.read(4)) == data
            assert await asyncio.gather(reader.read(4)) == [data]
        else:
            assert await asyncio.create_task(read(reader)) == data
            (result,) = await asyncio.gather(read(reader))
            assert result == data

    peers(scene)


def test_a_coroutine_that_is_never_awaited_warns(peers, call):
    read, _ = call

    async def scene(peers, reader):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read(reader)
            gc.collect()
        (warning,) = caught
        assert warning.category is RuntimeWarning
        assert "was never awaited" in str(warning.message)
        assert "StreamReader." in str(warning.message)

    peers(scene)


def test_a_closed_coroutine_does_not_warn(peers, call):
    read, data = call

    async def scene(peers, reader):
        coro = read(reader)
        coro.close()
        coro.close()
        waiting = read(reader)
        waiting.send(None)
        waiting.close()
        assert reader._waiter is None
        await peers.send(data)
        assert await read(reader) == data

    peers(scene)


def test_throwing_into_a_coroutine(peers, call):
    read, _ = call

    async def scene(peers, reader):
        for start in (False, True):
            for thrown in (ZeroDivisionError, ZeroDivisionError("text")):
                coro = read(reader)
                if start:
                    coro.send(None)
                with pytest.raises(ZeroDivisionError):
                    coro.throw(thrown)
                assert reader._waiter is None
                with pytest.raises(RuntimeError):
                    coro.send(None)

    peers(scene)


def test_a_cancelled_read_leaves_the_data(peers, call):
    read, data = call

    async def scene(peers, reader):
        task = await peers.waiting(read(reader))
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() and reader._waiter is None
        await peers.send(data)
        assert await read(reader) == data

    peers(scene)


def test_cancelled_between_the_wake_up_and_the_step(peers, call):
    read, data = call

    async def scene(peers, reader):
        task = await peers.waiting(read(reader))
        reader.feed_data(data)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert reader._buffer == data
        assert await read(reader) == data

    peers(scene)


def test_a_timeout(peers, call):
    read, data = call

    async def scene(peers, reader):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(read(reader), 0.01)
        assert reader._waiter is None
        await peers.send(data)
        assert await asyncio.wait_for(read(reader), 10) == data

    peers(scene)


def test_two_at_once(peers, call):
    read, data = call

    async def scene(peers, reader):
        task = await peers.waiting(read(reader))
        with pytest.raises(RuntimeError, match="called while another coroutine is already waiting"):
            await read(reader)
        peers.far.write(data)
        assert await task == data

    peers(scene)


def test_the_message_names_the_method(peers):
    async def scene(peers, reader):
        task = await peers.waiting(reader.readline())
        for coro, name in (
            (reader.read(1), "read"),
            (reader.readexactly(1), "readexactly"),
            (reader.readline(), "readuntil"),
            (reader.read(-1), "read"),
        ):
            with pytest.raises(RuntimeError, match=rf"^{name}\(\) called while"):
                await coro
        task.cancel()
        await asyncio.wait([task])

    peers(scene)


def test_the_step_comes_in_the_next_turn(peers):
    async def scene(peers, reader):
        loop, seen = asyncio.get_running_loop(), []

        async def read():
            await reader.readline()
            seen.append("step")

        task = await peers.waiting(read())
        loop.call_soon(seen.append, "before")
        reader.feed_data(b"line\n")
        loop.call_soon(seen.append, "after")
        assert seen == []
        await task
        assert seen == ["before", "step", "after"]

    peers(scene)


def test_the_step_runs_in_the_tasks_context(peers):
    async def scene(peers, reader):
        variable = contextvars.ContextVar("variable")

        async def read():
            variable.set("task")
            line = await reader.readline()
            return line, variable.get()

        task = await peers.waiting(read())
        variable.set("scene")
        peers.far.write(b"line\n")
        assert await task == (b"line\n", "task")

    peers(scene)


@since(3, 12)
def test_eager_tasks(peers):
    async def scene(peers, reader):
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        await peers.send(b"one\n")
        task = asyncio.create_task(reader.readline())
        assert task.done() and task.result() == b"one\n"
        task = asyncio.create_task(reader.readline())
        assert not task.done()
        peers.far.write(b"two\n")
        assert await task == b"two\n"

    peers(scene)


def test_the_end_of_the_stream(peers):
    async def scene(peers, reader):
        await peers.end(b"rest")
        assert not reader.at_eof()
        with pytest.raises(IncompleteReadError, match="4 bytes read on a total of 5") as caught:
            await reader.readexactly(5)
        assert (caught.value.partial, caught.value.expected) == (b"rest", 5)
        assert reader.at_eof()
        assert await reader.read(5) == b""
        assert await reader.read() == b""
        assert await reader.readline() == b""
        with pytest.raises(IncompleteReadError) as caught:
            await reader.readuntil()
        assert (caught.value.partial, caught.value.expected) == (b"", None)
        with pytest.raises(StopAsyncIteration):
            await reader.__anext__()

    peers(scene)


@pytest.mark.parametrize("name", ["readline", "readuntil", "readexactly", "read", "anext"])
def test_the_end_wakes_who_waits(peers, name):
    async def scene(peers, reader):
        task = await peers.waiting(CALLS[name][0](reader))
        if name != "read":
            await peers.send(b"part")
        peers.far.write_eof()
        await asyncio.wait([task])
        if name in ("readline", "anext"):
            assert task.result() == b"part"
        elif name == "read":
            assert task.result() == b""
        else:
            assert task.exception().partial == b"part"

    peers(scene)


def test_iteration(peers):
    async def scene(peers, reader):
        await peers.end(b"one\ntwo\n", b"three")
        assert [line async for line in reader] == [b"one\n", b"two\n", b"three"]

    peers(scene)


def test_no_bytes_at_all(peers):
    async def scene(peers, reader):
        assert await reader.read(0) == b""
        assert await reader.readexactly(0) == b""
        with pytest.raises(ValueError, match="less than zero"):
            await reader.readexactly(-1)
        with pytest.raises(ValueError, match="at least one-byte"):
            await reader.readuntil(b"")

    peers(scene)


def test_everything_up_to_the_end(peers):
    async def scene(peers, reader):
        task = await peers.waiting(reader.read())
        await asyncio.sleep(0)
        peers.far.write(b"x" * 300)
        peers.far.write_eof()
        assert await task == b"x" * 300

    peers(scene, limit=64)


def test_arguments(peers):
    async def scene(peers, reader):
        await peers.send(b"abcdef--gh\nrest")
        assert await reader.read(n=2) == b"ab"
        assert await reader.readexactly(n=2) == b"cd"
        assert await reader.readuntil(separator=b"--") == b"ef--"
        assert await reader.readuntil(bytearray(b"\n")) == b"gh\n"
        assert await reader.read(True) == b"r"
        for wrong in (
            lambda: reader.readline(1),
            lambda: reader.readexactly(),
            lambda: reader.read(1, 2),
            lambda: reader.read(m=1),
            lambda: reader.readuntil(b"x", b"y"),
        ):
            with pytest.raises(TypeError):
                wrong()
        for wrong in (lambda: reader.readexactly("1"), lambda: reader.read(None)):
            with pytest.raises(TypeError):
                await wrong()
        assert inspect.signature(reader.read).parameters["n"].default == -1
        assert "newline" in reader.readline.__doc__

    peers(scene)


@since(3, 13)
def test_several_separators(peers):
    async def scene(peers, reader):
        await peers.send(b"one;two,three")
        assert await reader.readuntil((b",", b";")) == b"one;"
        assert await reader.readuntil((b",", b";")) == b"two,"
        task = await peers.waiting(reader.readuntil((b"!", b"\r\n")))
        peers.far.write(b"\r")
        peers.far.write(b"\n")
        assert await task == b"three\r\n"

    peers(scene)


def test_a_separator_across_pieces(peers):
    async def scene(peers, reader):
        task = await peers.waiting(reader.readuntil(b"SEPARATOR"))
        for piece in (b"xSEPARA", b"SEP", b"ARATO", b"R"):
            await peers.send(piece) if piece != b"R" else peers.far.write(piece)
        assert await task == b"xSEPARASEPARATOR"

    peers(scene)


def test_the_limit_of_readuntil(peers):
    async def scene(peers, reader):
        await peers.send(b"x" * 9)
        with pytest.raises(LimitOverrunError, match="not found, and chunk exceed") as caught:
            await reader.readuntil()
        assert caught.value.consumed == 9
        assert reader._buffer == b"x" * 9
        reader.feed_data(b"\nrest")
        with pytest.raises(LimitOverrunError, match="found, but chunk is longer") as caught:
            await reader.readuntil()
        assert caught.value.consumed == 9
        assert await reader.readexactly(10) == b"x" * 9 + b"\n"
        reader.feed_data(b"12\n")
        assert await reader.readuntil() == b"rest12\n"

    peers(scene, limit=8)


def test_the_limit_of_readline(peers):
    async def scene(peers, reader):
        await peers.send(b"x" * 9 + b"\n" + b"12345678\n")
        with pytest.raises(ValueError, match="found, but chunk is longer"):
            await reader.readline()
        assert await reader.readline() == b"12345678\n"
        await peers.send(b"y" * 20)
        with pytest.raises(ValueError, match="not found, and chunk exceed"):
            await reader.readline()
        assert not reader._buffer
        task = await peers.waiting(reader.readline())
        peers.far.write(b"z" * 30)
        with pytest.raises(ValueError, match="not found, and chunk exceed"):
            await task

    peers(scene, limit=8)


def test_reading_pauses_above_twice_the_limit(peers):
    async def scene(peers, reader):
        await peers.send(b"x" * 16)
        assert not reader._paused and reader._transport.is_reading()
        await peers.send(b"x")
        assert reader._paused and not reader._transport.is_reading()
        assert "paused" in repr(reader)
        assert await reader.readexactly(8) == b"x" * 8
        assert reader._paused
        assert await reader.read(1) == b"x"
        assert not reader._paused and reader._transport.is_reading()

    peers(scene, limit=8)


def test_more_than_the_buffer_takes(peers):
    async def scene(peers, reader):
        peers.far.write(bytes(range(256)) * 100)
        await eventually(lambda: reader._paused)
        assert await reader.readexactly(25600) == bytes(range(256)) * 100

    peers(scene, limit=10)


def test_an_exception_is_raised_by_every_method(peers, call):
    read, data = call

    async def scene(peers, reader):
        assert reader.exception() is None
        task = await peers.waiting(read(reader))
        reader.set_exception(ZeroDivisionError("lost"))
        with pytest.raises(ZeroDivisionError, match="lost"):
            await task
        assert isinstance(reader.exception(), ZeroDivisionError)
        reader.feed_data(data)
        with pytest.raises(ZeroDivisionError, match="lost"):
            await read(reader)
        with pytest.raises(ZeroDivisionError, match="lost"):
            await peers.writer.drain()

    peers(scene)


@pytest.mark.asyncio_wrong("waits for what never comes")
def test_data_and_then_a_loss_in_one_turn(peers):
    """The reader was woken by data that is not enough; then the connection is lost."""

    async def scene(peers, reader):
        task = await peers.waiting(reader.readline())
        reader.feed_data(b"part")
        reader.set_exception(ConnectionResetError("lost"))
        with pytest.raises(ConnectionResetError, match="lost"):
            await asyncio.wait_for(task, 1)

    peers(scene)
