"""TLS in TLS: handshakes over a protected connection, and what was received before them."""

import asyncio
import contextlib
import ssl

import pytest
from support import eventually, spin
from tls_support import below, client_context, protect_late, server_context

pytestmark = pytest.mark.usefixtures("tls_session")

MIB = 1 << 20
#: Its TLS transports take no error to be closed with.
NO_ERRORS = pytest.mark.asyncio_wrong(
    "a layer that fails cannot end the one below it", until=(3, 13), strict=False
)


@NO_ERRORS
def test_an_inner_certificate_that_nobody_trusts(loop, layered, run):
    client, server = layered(1)

    async def main():
        with_trust, without = server_context(), client_context(trusting=False)
        results = await asyncio.gather(
            loop.start_tls(client.transport, client, without, server_hostname="localhost"),
            loop.start_tls(server.transport, server, with_trust, server_side=True),
            return_exceptions=True,
        )
        assert isinstance(results[0], ssl.SSLCertVerificationError)
        assert isinstance(results[1], (ssl.SSLError, ConnectionError))
        await asyncio.gather(client.lost, server.lost)

    run(main())
    assert client.transport.is_closing() and server.transport.is_closing()
    assert client.data == server.data == b""


@NO_ERRORS
def test_an_inner_handshake_that_meets_plaintext(loop, layered, run):
    client, server = layered(1)

    async def main():
        server.transport.write(b"not a handshake\r\n" * 10)
        with pytest.raises(ssl.SSLError):
            await loop.start_tls(
                client.transport, client, client_context(), server_hostname="localhost"
            )
        await client.lost

    run(main())
    assert client.data == b""


@NO_ERRORS
def test_an_inner_handshake_timeout(loop, layered, run):
    client, server = layered(1)

    async def main():
        upgrading = loop.start_tls(
            client.transport,
            client,
            client_context(),
            server_hostname="localhost",
            ssl_handshake_timeout=0.05,
        )
        with pytest.raises(ConnectionAbortedError, match=r"longer than 0\.05 seconds"):
            await asyncio.wait_for(upgrading, 2)
        await asyncio.wait_for(server.lost, 2)

    run(main())


@NO_ERRORS
def test_an_inner_handshake_whose_peer_leaves(loop, layered, run):
    client, server = layered(1)

    async def main():
        upgrading = loop.create_task(
            loop.start_tls(client.transport, client, client_context(), server_hostname="localhost")
        )
        await server.until_data(1)
        server.transport.close()
        with pytest.raises(OSError):
            await upgrading
        await asyncio.gather(client.lost, server.lost)

    run(main())


@NO_ERRORS
def test_an_inner_handshake_that_is_cancelled(loop, layered, run):
    client, server = layered(1)

    async def main():
        upgrading = loop.create_task(
            loop.start_tls(client.transport, client, client_context(), server_hostname="localhost")
        )
        await server.until_data(1)
        upgrading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upgrading
        await asyncio.gather(client.lost, server.lost)

    run(main())
    assert client.transport.is_closing()


@NO_ERRORS
def test_a_shutdown_timeout_of_the_inner_layer(layered, run, loop):
    """The peer's inner layer is there and reads nothing: it never answers the goodbye."""
    client, server = layered(ssl_shutdown_timeout=0.05)

    async def main():
        server.transport.pause_reading()
        below(below(server.transport)).pause_reading()
        client.transport.close()
        await asyncio.wait_for(client.lost, 2)
        server.transport.abort()
        await server.lost

    run(main())
    assert isinstance(client.lost_with, TimeoutError)


def test_what_was_received_before_the_inner_layer_is_taken_for_its_own(loop, layered, run):
    client, server = layered(1)

    async def main():
        await protect_late(loop, client, server)
        client.transport.write(b"secret")
        await server.until_data(6)

    run(main())
    assert server.data == b"secret"


@pytest.mark.oxloop_only
def test_what_a_stream_has_not_read_is_taken_for_the_inner_layer(loop, run):
    """asyncio reads it as if it had been protected twice, and leaves the connection open."""

    async def serve(reader, writer):
        await reader.readline()
        writer.write(b"go ahead\ninjected\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.transport.abort()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context())
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=client_context(), server_hostname="localhost"
        )
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go ahead\n"
        await asyncio.sleep(0.01)
        upgrading = writer.start_tls(client_context(), server_hostname="localhost")
        with pytest.raises(ssl.SSLError):
            await asyncio.wait_for(upgrading, 1)
        writer.transport.abort()
        server.close()
        await server.wait_closed()

    run(main())
    spin(loop)


@pytest.mark.asyncio_wrong("the writer is never resumed")
def test_while_the_layer_below_is_full(loop, layered, run):
    """The inner handshake follows what waits to be sent; the writer is resumed afterwards."""
    client, server = layered(1)
    outer = client.transport

    async def main():
        server.transport.pause_reading()
        written = 0
        while "pause_writing" not in client.calls:
            outer.write(bytes(100_000))
            written += 100_000
        upgrading = loop.create_task(
            loop.start_tls(outer, client, client_context(), server_hostname="localhost")
        )
        await asyncio.sleep(0.01)
        server.transport.resume_reading()
        await server.until_data(written)
        await eventually(lambda: len(server.data) > written)
        # What came behind the data is the client's first message.
        hello = bytes(server.data[written:])
        reply = ssl.MemoryBIO()
        incoming = ssl.MemoryBIO()
        incoming.write(hello)
        session = server_context().wrap_bio(incoming, reply, server_side=True)
        with pytest.raises(ssl.SSLWantReadError):
            session.do_handshake()
        server.data.clear()
        server.transport.write(reply.read())
        await upgrading
        await asyncio.wait_for(client.until_called("resume_writing"), 1)
        assert client.calls.count("pause_writing") == client.calls.count("resume_writing")
        (await upgrading).abort()

    run(main())
    run(asyncio.gather(client.lost, server.lost))
