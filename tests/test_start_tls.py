"""start_tls at its edges: what came before it, flow control across it, TLS in TLS, its end."""

import asyncio
import socket
import ssl

import pytest
from support import Recorder, hooked, since, spin
from tls_support import client_context, protect_late, server_context

pytestmark = pytest.mark.usefixtures("tls_session")


@pytest.fixture
def plain_pair(loop):
    """Two ends of one plain connection, both on the loop."""
    made = []

    def plain_pair(client_factory=Recorder, server_factory=Recorder):
        async def open_both():
            ours, theirs = socket.socketpair()
            _, client = await loop.create_connection(client_factory, sock=ours)
            _, server = await loop.connect_accepted_socket(server_factory, theirs)
            return client, server

        pair = loop.run_until_complete(open_both())
        made.extend(protocol.transport for protocol in pair)
        return pair

    yield plain_pair
    for transport in made:
        transport.abort()
    spin(loop)


async def protect(loop, client, server):
    upgraded = await asyncio.gather(
        loop.start_tls(client.transport, client, client_context(), server_hostname="localhost"),
        loop.start_tls(server.transport, server, server_context(), server_side=True),
    )
    client.transport, server.transport = upgraded


def test_tls_in_tls(loop, run, plain_pair):
    client, server = plain_pair()

    async def main():
        await protect(loop, client, server)
        await protect(loop, client, server)
        client.transport.write(bytes(300_000))
        await server.until_data(300_000)
        server.transport.write(b"answer")
        await client.until_data(6)
        client.transport.close()
        await asyncio.gather(client.lost, server.lost)

    run(main())
    assert client.calls.count("connection_made") == 1
    assert client.calls.count("connection_lost") == 1


def test_what_came_while_reading_was_paused_is_taken_for_tls(loop, run, plain_pair):
    """Nothing that is not protected is delivered as if it were: here, the handshake fails."""
    client, server = plain_pair()

    async def main():
        client.transport.pause_reading()
        server.transport.write(b"injected\r\n" * 10)
        await asyncio.sleep(0.01)
        with pytest.raises(ssl.SSLError):
            await loop.start_tls(
                client.transport, client, client_context(), server_hostname="localhost"
            )

    run(main())
    spin(loop)
    assert client.data == b""


@pytest.mark.asyncio_wrong("what the reader holds is read as if it had been protected")
def test_what_a_stream_has_not_read_is_taken_for_tls(loop, run):
    async def serve(reader, writer):
        await reader.readline()
        writer.write(b"go ahead\ninjected\n")
        await writer.drain()
        try:
            await loop.start_tls(
                writer.transport, asyncio.Protocol(), server_context(), server_side=True
            )
        except (OSError, ssl.SSLError):
            pass
        writer.transport.abort()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go ahead\n"
        await asyncio.sleep(0.01)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await writer.start_tls(client_context(), server_hostname="localhost")
        writer.transport.abort()
        server.close()
        await server.wait_closed()

    run(main())
    spin(loop)


def test_a_hello_that_is_buffered_already_is_used(loop, run, plain_pair):
    client, server = plain_pair()

    async def main():
        await protect_late(loop, client, server)
        client.transport.write(b"secret")
        await server.until_data(6)

    run(main())
    assert server.data == b"secret"


@pytest.mark.asyncio_wrong("an assertion fails, and the writer is never resumed")
def test_while_writing_is_paused(loop, run):
    """The handshake follows what waits to be sent; the writer is resumed afterwards."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)

    async def main():
        plain, client = await loop.create_connection(Recorder, sock=ours)
        written = 0
        while "pause_writing" not in client.calls:
            plain.write(bytes(100_000))
            written += 100_000
        upgrading = loop.create_task(
            loop.start_tls(plain, client, client_context(), server_hostname="localhost")
        )
        await asyncio.sleep(0.01)
        while written:
            written -= len(await loop.sock_recv(theirs, written))
        accepted, server = await loop.connect_accepted_socket(
            Recorder, theirs, ssl=server_context()
        )
        upgraded = await upgrading
        await asyncio.wait_for(client.until_called("resume_writing"), 1)
        upgraded.write(b"secret")
        await server.until_data(6)
        assert client.calls.count("pause_writing") == client.calls.count("resume_writing")
        upgraded.abort()
        await asyncio.gather(client.lost, server.lost)

    try:
        run(main())
    finally:
        ours.close()
        theirs.close()
        spin(loop)


def test_a_buffered_protocol(loop, run, plain_pair):
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self):
            self.buffer, self.data = bytearray(100), bytearray()
            self.lost = loop.create_future()

        def connection_made(self, transport):
            self.transport = transport

        def get_buffer(self, sizehint):
            return self.buffer

        def buffer_updated(self, count):
            self.data += self.buffer[:count]

        def connection_lost(self, exc):
            self.lost.set_result(exc)

    client, server = plain_pair(server_factory=Buffered)

    async def main():
        await protect(loop, client, server)
        client.transport.write(bytes(range(256)) * 1000)
        client.transport.close()
        assert await server.lost is None

    run(main())
    if not run_on_asyncio(loop):
        assert server.data == bytes(range(256)) * 1000


def run_on_asyncio(loop):
    return type(loop).__module__.startswith("asyncio")


def test_cancelled(loop, run, plain_pair):
    client, server = plain_pair()
    plain = client.transport

    async def main():
        upgrading = loop.create_task(
            loop.start_tls(plain, client, client_context(), server_hostname="localhost")
        )
        await asyncio.sleep(0.01)
        upgrading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upgrading
        await server.lost

    run(main())
    assert plain.is_closing()


def test_a_connection_that_is_lost_meanwhile(loop, run, plain_pair):
    client, server = plain_pair()

    async def main():
        upgrading = loop.create_task(
            loop.start_tls(client.transport, client, client_context(), server_hostname="localhost")
        )
        await server.until_data(1)
        server.transport.abort()
        with pytest.raises(OSError):
            await upgrading

    run(main())


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_transport_that_was_just_closed_gives_none(loop, run, plain_pair, end):
    """asyncio's word for it; aiohttp asks for it."""
    client, server = plain_pair()

    async def main():
        getattr(client.transport, end)()
        protocol = Recorder()
        assert (
            await loop.start_tls(
                client.transport, protocol, client_context(), server_hostname="localhost"
            )
            is None
        )
        await protocol.lost
        return protocol

    protocol = run(main())
    assert protocol.lost_with is None
    assert protocol.calls == ["connection_lost"]
    assert "connection_lost" not in client.calls


@pytest.mark.parametrize("error", [None, ConnectionResetError])
def test_a_transport_that_is_about_to_be_lost(loop, run, plain_pair, error):
    client, server = plain_pair()

    async def main():
        client.transport._force_close(error and error("on purpose"))
        return await loop.start_tls(
            client.transport, client, client_context(), server_hostname="localhost"
        )

    if error is None:
        assert run(main()) is None
    else:
        with pytest.raises(ConnectionResetError, match="on purpose"):
            run(main())
    spin(loop)
    assert client.calls == ["connection_made", "connection_lost"]


@pytest.mark.oxloop_only
def test_a_transport_that_is_lost_cannot_be_protected(loop, run, plain_pair):
    """asyncio waits for the handshake's time to pass."""
    client, _ = plain_pair()
    client.transport.close()
    run(client.lost)
    with pytest.raises(ConnectionResetError):
        run(loop.start_tls(client.transport, client, client_context(), server_hostname="x"))


def test_options_are_checked(loop, run, plain_pair):
    client, _ = plain_pair()
    for name in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
        for value in (0, -1):
            with pytest.raises(ValueError, match=f"{name} should be a positive number, got"):
                run(
                    loop.start_tls(
                        client.transport,
                        client,
                        client_context(),
                        server_hostname="localhost",
                        **{name: value},
                    )
                )
    client.transport.write(b"still plain")


@since(3, 13)
def test_the_old_transport_is_below_the_new_one(loop, run, plain_pair):
    client, server = plain_pair(hooked(), hooked())
    plain = client.transport
    run(protect(loop, client, server))
    assert client.transport._ssl_protocol._transport is plain
    assert client.transport.get_extra_info("socket").fileno() == plain._sock_fd
    assert "SSL" in type(client.transport).__name__
    assert isinstance(client.transport, asyncio.Transport)
    plain.abort()
    run(asyncio.gather(client.lost, server.lost))
    assert client.transport.is_closing()
