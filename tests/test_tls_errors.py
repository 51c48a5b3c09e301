"""TLS that fails: certificates, timeouts, strangers, truncation. Also start_tls."""

import asyncio
import re
import socket
import ssl
import threading

import pytest
from support import Boom, Recorder, eventually, hooked, raising, spin
from tls_support import client_context, server_context, start_peer

pytestmark = pytest.mark.usefixtures("tls_session")


@pytest.fixture
def tls_server(loop, run, cleanup):
    """A TLS server on loopback; gives the server and the protocols it made."""
    protocols = []

    def factory():
        protocols.append(Recorder(data_received=lambda data: None))
        return protocols[-1]

    server = run(loop.create_server(factory, "127.0.0.1", 0, ssl=server_context()))
    cleanup.append(server)
    yield server, protocols
    for protocol in protocols:
        if protocol.transport is not None:
            protocol.transport.abort()
    spin(loop)


def connect_to(loop, server, factory=asyncio.Protocol, context=None, **options):
    options = {"server_hostname": "localhost", **options}
    address = server.sockets[0].getsockname()
    return loop.create_connection(factory, *address, ssl=context or client_context(), **options)


async def settle():
    """Give the other side of a failed handshake the time to notice."""
    await asyncio.sleep(0.02)


def test_an_untrusted_certificate(loop, run, tls_server):
    server, protocols = tls_server
    with pytest.raises(ssl.SSLCertVerificationError):
        run(connect_to(loop, server, context=client_context(trusting=False)))
    run(settle())
    assert all(protocol.calls == [] for protocol in protocols)


def test_a_wrong_host_name(loop, run, tls_server):
    with pytest.raises(ssl.SSLCertVerificationError):
        run(connect_to(loop, tls_server[0], server_hostname="oxloop.invalid"))
    run(settle())


def test_a_host_name_is_needed_with_a_socket(loop, run):
    ours, peer = socket.socketpair()
    with ours, peer, pytest.raises(ValueError):
        run(loop.create_connection(asyncio.Protocol, sock=ours, ssl=client_context()))


def test_a_stranger_on_the_servers_port_does_no_harm(loop, run, tls_server):
    server, _ = tls_server
    with socket.create_connection(server.sockets[0].getsockname()) as stranger:
        stranger.send(b"GET / HTTP/1.0\r\n\r\n" * 10)
        run(settle())

    async def main():
        transport, _ = await connect_to(loop, server)
        transport.abort()

    run(main())
    run(settle())


def test_a_server_that_does_not_speak_tls(loop, run, listener):
    async def main():
        connecting = loop.create_task(
            loop.create_connection(
                asyncio.Protocol,
                *listener.getsockname(),
                ssl=client_context(),
                server_hostname="localhost",
            )
        )
        accepted, _ = await loop.sock_accept(listener)
        with accepted:
            await loop.sock_sendall(accepted, b"220 mail ready\r\n" * 10)
            with pytest.raises(ssl.SSLError):
                await connecting

    run(main())


def test_a_peer_that_leaves_during_the_handshake(loop, run):
    ours, peer = socket.socketpair()
    peer.close()
    with pytest.raises(ConnectionError):
        run(
            loop.create_connection(
                asyncio.Protocol, sock=ours, ssl=client_context(), server_hostname="localhost"
            )
        )


def test_a_handshake_timeout(loop, run):
    ours, peer = socket.socketpair()
    with peer, pytest.raises(ConnectionAbortedError, match="SSL handshake is taking longer"):
        run(
            loop.create_connection(
                asyncio.Protocol,
                sock=ours,
                ssl=client_context(),
                server_hostname="localhost",
                ssl_handshake_timeout=0.02,
            )
        )


def test_a_cancelled_handshake_leaves_no_descriptor(loop, run):
    ours, peer = socket.socketpair()

    async def main():
        task = loop.create_task(
            loop.create_connection(
                asyncio.Protocol, sock=ours, ssl=client_context(), server_hostname="localhost"
            )
        )
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    spin(loop)
    peer.close()


@pytest.mark.asyncio_wrong("it looks like a regular end")
def test_a_truncated_stream_is_an_error(loop, run):
    def talk(tls):
        tls.sendall(b"half of it")
        tls.shutdown(socket.SHUT_RDWR)

    peer, ours = start_peer(talk)
    _, protocol = run(
        loop.create_connection(
            Recorder, sock=ours, ssl=client_context(), server_hostname="localhost"
        )
    )
    run(protocol.lost)
    peer.join()
    assert protocol.data == b"half of it"
    assert isinstance(protocol.lost_with, ssl.SSLError)


@pytest.mark.oxloop_only
def test_a_truncated_stream_is_read_to_its_end_and_reported(loop, run):
    def talk(tls):
        tls.sendall(b"half of it")
        tls.shutdown(socket.SHUT_RDWR)

    peer, ours = start_peer(talk)

    async def main():
        reader, writer = await asyncio.open_connection(
            sock=ours, ssl=client_context(), server_hostname="localhost"
        )
        assert await reader.read() == b"half of it"
        writer.close()
        with pytest.raises(ssl.SSLEOFError) as caught:
            await writer.wait_closed()
        assert isinstance(caught.value, ConnectionResetError)

    run(main())
    peer.join()


def cut_after(loop, run, context, answer=b""):
    """A connection that its peer cuts; `answer` is written after the peer's data came."""
    heard = threading.Event()

    def talk(tls):
        tls.sendall(b"something")
        if answer:
            tls.recv(len(answer))
        heard.set()
        tls.shutdown(socket.SHUT_RDWR)

    peer, ours = start_peer(talk)
    transport, protocol = run(
        loop.create_connection(Recorder, sock=ours, ssl=context, server_hostname="localhost")
    )
    run(protocol.until_data(9))
    if answer:
        transport.write(answer)
    run(protocol.lost)
    peer.join()
    return protocol


def test_nothing_is_cut_if_we_had_the_last_word(loop, run):
    protocol = cut_after(loop, run, client_context(), b"answer")
    assert protocol.lost_with is None


def test_a_context_may_forgive_the_missing_goodbye(loop, run):
    context = client_context()
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    protocol = cut_after(loop, run, context)
    assert protocol.lost_with is None
    assert protocol.calls[-2:] == ["eof_received", "connection_lost"]


@pytest.mark.asyncio_wrong("APPLICATION_DATA_AFTER_CLOSE_NOTIFY", strict=False)
def test_data_in_flight_is_no_error_when_we_close(loop, run):
    def talk(tls):
        tls.recv(2)
        tls.sendall(bytes(100_000))
        tls.unwrap()

    peer, ours = start_peer(talk)
    transport, protocol = run(
        loop.create_connection(
            Recorder, sock=ours, ssl=client_context(), server_hostname="localhost"
        )
    )
    transport.write(b"go")
    transport.close()
    run(protocol.lost)
    peer.join()
    assert (protocol.lost_with, peer.error) == (None, None)


def test_close_while_reading_is_paused_sends_everything(loop, run):
    received = bytearray()

    def talk(tls):
        while data := tls.recv(65536):
            received.extend(data)
        tls.unwrap()

    peer, ours = start_peer(talk)
    transport, protocol = run(
        loop.create_connection(
            Recorder, sock=ours, ssl=client_context(), server_hostname="localhost"
        )
    )
    transport.pause_reading()
    transport.write(bytes(3_000_000))
    transport.close()
    run(protocol.lost)
    peer.join()
    assert len(received) == 3_000_000


@pytest.mark.asyncio_wrong("data that came with it is dropped", strict=False)
def test_a_corrupted_record(loop, run):
    def talk(tls):
        tls.sendall(b"fine")
        plain = tls.detach()
        with socket.socket(fileno=plain) as sock:
            sock.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            sock.settimeout(20)
            while sock.recv(4096):
                pass

    peer, ours = start_peer(talk)
    _, protocol = run(
        loop.create_connection(
            Recorder, sock=ours, ssl=client_context(), server_hostname="localhost"
        )
    )
    run(protocol.lost)
    peer.join()
    assert protocol.data == b"fine"
    assert isinstance(protocol.lost_with, ssl.SSLError)
    assert re.fullmatch(r"\[SSL: [A-Z_]+\] .+ \(_ssl\.c:\d+\)", str(protocol.lost_with))
    assert protocol.lost_with.library == "SSL" and protocol.lost_with.reason


def test_a_regular_end_is_no_error(loop, run):
    peer, ours = start_peer(lambda tls: (tls.sendall(b"all of it"), tls.unwrap()))
    _, protocol = run(
        loop.create_connection(
            Recorder, sock=ours, ssl=client_context(), server_hostname="localhost"
        )
    )
    run(protocol.lost)
    peer.join()
    assert protocol.data == b"all of it"
    assert protocol.lost_with is None and "eof_received" in protocol.calls


def test_a_shutdown_timeout_ends_a_deaf_peer(loop, run):
    """close() waits for the peer's goodbye only as long as it was told to."""
    finished = threading.Event()
    peer, ours = start_peer(lambda tls: finished.wait(20))
    transport, protocol = run(
        loop.create_connection(
            Recorder,
            sock=ours,
            ssl=client_context(),
            server_hostname="localhost",
            ssl_shutdown_timeout=0.02,
        )
    )
    transport.close()
    run(protocol.lost)
    finished.set()
    peer.join()
    assert isinstance(protocol.lost_with, TimeoutError)


# ── start_tls ────────────────────────────────────────────────────────────────────────────────


def test_start_tls_on_both_ends(loop, run):
    async def main():
        ours, theirs = socket.socketpair()
        plain, client = await loop.create_connection(Recorder, sock=ours)
        accepted, server = await loop.connect_accepted_socket(Recorder, theirs)
        plain.write(b"STARTTLS")
        await server.until_data(8)
        upgraded = await asyncio.gather(
            loop.start_tls(plain, client, client_context(), server_hostname="localhost"),
            loop.start_tls(accepted, server, server_context(), server_side=True),
        )
        upgraded[0].write(b"secret")
        await server.until_data(14)
        upgraded[1].write(b"answer")
        await client.until_data(6)
        assert isinstance(upgraded[0].get_extra_info("ssl_object"), ssl.SSLObject)
        upgraded[0].close()
        await asyncio.gather(client.lost, server.lost)
        return client, server

    client, server = run(main())
    assert server.data == b"STARTTLSsecret" and client.data == b"answer"
    assert client.calls.count("connection_made") == server.calls.count("connection_made") == 1
    assert client.calls.count("connection_lost") == 1


TELLS_NOBODY = pytest.mark.asyncio_wrong(
    "who waits is never told, up to some 3.12", until=(3, 13), strict=False
)


@pytest.mark.parametrize("error", [Boom, pytest.param(StopIteration, marks=TELLS_NOBODY)])
def test_an_error_of_connection_made_reaches_who_waits(loop, run, errors, tls_server, error):
    async def main():
        opening = connect_to(loop, tls_server[0], hooked(connection_made=raising(error)))
        # No future takes a StopIteration: RuntimeError, or in older versions TypeError.
        with pytest.raises((Boom, RuntimeError, TypeError)):
            await asyncio.wait_for(opening, 2)

    run(main())
    run(settle())
    errors.take()


def test_start_tls_that_fails(loop, run):
    async def main():
        ours, theirs = socket.socketpair()
        plain, client = await loop.create_connection(Recorder, sock=ours)
        accepted, server = await loop.connect_accepted_socket(
            hooked(data_received=lambda data: server.transport.write(b"not TLS at all")), theirs
        )
        with pytest.raises(ssl.SSLError):
            await loop.start_tls(plain, client, client_context(), server_hostname="localhost")
        await server.lost

    run(main())


@pytest.mark.parametrize("wrong", [None, True, object()])
def test_start_tls_refuses_what_is_no_context(loop, connect, run, wrong):
    transport, protocol, _ = connect()
    with pytest.raises(TypeError):
        run(loop.start_tls(transport, protocol, wrong))


def test_start_tls_after_buffered_data(loop, run):
    """What was written before the upgrade arrives before the handshake."""

    async def main():
        ours, theirs = socket.socketpair()
        plain, client = await loop.create_connection(Recorder, sock=ours)
        plain.write(bytes(100_000))
        upgrading = loop.create_task(
            loop.start_tls(plain, client, client_context(), server_hostname="localhost")
        )
        theirs.setblocking(False)
        received = b""
        while len(received) < 100_000:
            received += await loop.sock_recv(theirs, 100_000 - len(received))
        assert received == bytes(100_000)
        accepted, server = await loop.connect_accepted_socket(
            Recorder, theirs, ssl=server_context()
        )
        upgraded = await upgrading
        upgraded.write(b"secret")
        await server.until_data(6)
        upgraded.close()
        await server.lost
        await eventually(lambda: "connection_lost" in client.calls)

    run(main())


def test_stream_writer_start_tls(loop, run):
    async def serve(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go\n")
        await writer.drain()
        await writer.start_tls(server_context())
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go\n"
        await writer.start_tls(client_context(), server_hostname="localhost")
        writer.write(b"secret\n")
        assert await reader.readline() == b"secret\n"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())
    spin(loop)
