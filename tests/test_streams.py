"""asyncio's streams over the loop: open_connection, start_server, readers and writers."""

import asyncio
import socket

import pytest
from support import spin
from tls_support import client_context, server_context

MIB = 1 << 20


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


@pytest.fixture(params=["tcp", "tls"])
def dial(request, loop, run):
    """Open a connection to an echo server, over plain TCP and over TLS."""
    servers = []

    async def dial(handler=echo, **options):
        tls = request.param == "tls"
        server = await asyncio.start_server(
            handler, "127.0.0.1", 0, ssl=server_context() if tls else None
        )
        servers.append(server)
        if tls:
            options.update(ssl=client_context(), server_hostname="localhost")
        return await asyncio.open_connection(*server.sockets[0].getsockname(), **options)

    yield dial
    for server in servers:
        server.close()
        run(server.wait_closed())
    spin(loop)


async def leave(writer):
    writer.close()
    await writer.wait_closed()


def test_echo(dial, run):
    async def main():
        reader, writer = await dial()
        for size in (1, 100, 65536):
            writer.write(bytes(size))
            await writer.drain()
            assert await reader.readexactly(size) == bytes(size)
        await leave(writer)

    run(main())


def test_big_data_with_drain(dial, run):
    async def main():
        reader, writer = await dial()
        data = bytes(range(256)) * (4 * MIB // 256)

        async def send():
            for start in range(0, len(data), 65536):
                writer.write(data[start : start + 65536])
                await writer.drain()

        _, received = await asyncio.gather(send(), reader.readexactly(len(data)))
        assert received == data
        await leave(writer)

    run(main())


def test_readline_and_iteration(dial, run):
    async def three_lines(reader, writer):
        writer.write(b"one\ntwo\nthree")
        writer.close()

    async def main():
        reader, writer = await dial(three_lines)
        assert await reader.readline() == b"one\n"
        assert [line async for line in reader] == [b"two\n", b"three"]
        assert reader.at_eof()
        assert await reader.read() == b""
        await leave(writer)

    run(main())


def test_readuntil(dial, run):
    async def main():
        reader, writer = await dial()
        writer.write(b"key: value\r\n\r\nbody")
        assert await reader.readuntil(b"\r\n\r\n") == b"key: value\r\n\r\n"
        assert await reader.read(100) == b"body"
        await leave(writer)

    run(main())


def test_incomplete_read(dial, run):
    async def short(reader, writer):
        writer.write(b"short")
        writer.close()

    async def main():
        reader, writer = await dial(short)
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await reader.readexactly(10)
        assert caught.value.partial == b"short" and caught.value.expected == 10
        await leave(writer)

    run(main())


def test_a_line_longer_than_the_limit(dial, run):
    async def main():
        reader, writer = await dial(limit=100)
        writer.write(b"x" * 500 + b"\n")
        with pytest.raises(ValueError):
            await reader.readline()
        await leave(writer)

    run(main())


def test_a_slow_reader_pauses_the_writer(dial, run):
    """drain() waits while the peer does not read, and goes on when it does."""
    go_on, finished = asyncio.Event(), asyncio.Event()

    async def slow(reader, writer):
        await go_on.wait()
        while await reader.read(65536):
            pass
        writer.close()
        finished.set()

    async def main():
        reader, writer = await dial(slow)

        async def send():
            for _ in range(300):
                writer.write(bytes(65536))
                await writer.drain()

        sending = asyncio.ensure_future(send())
        await asyncio.sleep(0.02)
        assert not sending.done()
        go_on.set()
        await sending
        await leave(writer)
        await finished.wait()

    run(main())


def test_reading_what_arrived_before_the_peer_closed(dial, run):
    async def hello(reader, writer):
        writer.write(b"hello")
        await leave(writer)

    async def main():
        reader, writer = await dial(hello)
        await asyncio.sleep(0.01)
        assert await reader.read() == b"hello"
        await leave(writer)

    run(main())


def test_two_readers_at_once_are_refused(dial, run):
    async def main():
        reader, writer = await dial()
        first = asyncio.ensure_future(reader.read(1))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another coroutine is already waiting"):
            await reader.read(1)
        writer.write(b"x")
        assert await first == b"x"
        await leave(writer)

    run(main())


def test_a_cancelled_read_loses_nothing(dial, run):
    async def main():
        reader, writer = await dial()
        task = asyncio.ensure_future(reader.readexactly(4))
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        writer.write(b"data")
        assert await reader.readexactly(4) == b"data"
        await leave(writer)

    run(main())


def test_a_reset_reaches_the_reader(loop, run, listener):
    async def main():
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        peer, _ = await loop.sock_accept(listener)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    run(main())


def test_drain_after_the_loss_raises(loop, run, listener):
    async def main():
        _, writer = await asyncio.open_connection(*listener.getsockname())
        peer, _ = await loop.sock_accept(listener)
        writer.transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await writer.drain()
        peer.close()

    run(main())


def test_write_eof(loop, run):
    async def main():
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert writer.can_write_eof()
        writer.write(b"all")
        writer.write_eof()
        assert await reader.read() == b"all"
        await leave(writer)
        server.close()
        await server.wait_closed()

    run(main())


def test_a_failing_client_callback_is_reported(loop, run, errors):
    async def fail(reader, writer):
        writer.close()
        raise ZeroDivisionError

    async def main():
        server = await asyncio.start_server(fail, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        await leave(writer)
        server.close()
        await server.wait_closed()

    run(main())
    spin(loop)
    context = errors.take_one(ZeroDivisionError)
    assert "client_connected_cb" in context["message"]


def test_sock_and_names(dial, run):
    async def main():
        reader, writer = await dial()
        sock = writer.get_extra_info("socket")
        assert writer.get_extra_info("sockname") == sock.getsockname()
        assert writer.get_extra_info("peername") == sock.getpeername()
        assert not writer.is_closing()
        await leave(writer)
        assert writer.is_closing()

    run(main())
