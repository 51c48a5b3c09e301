"""Servers: binding, serving, closing, and what a raising protocol factory does."""

import asyncio
import contextlib
import contextvars
import errno
import gc
import socket
import ssl
import sys
import weakref

import pytest
from support import FULL, Boom, Recorder, eventually, raising, since, spin
from tls_support import server_context

CONNECTIONS = 10_000 if FULL else 2_000


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Accepting:
    """A protocol factory that keeps its protocols."""

    def __init__(self):
        self.protocols = []

    def __call__(self):
        self.protocols.append(Recorder())
        return self.protocols[-1]

    def until(self, count):
        return eventually(
            lambda: sum("connection_made" in p.calls for p in self.protocols) == count
        )


@pytest.fixture
def serve(loop, run, cleanup):
    """Start a server on loopback; it is closed after the test."""

    def serve(factory=Echo, host="127.0.0.1", port=0, **options):
        server = run(loop.create_server(factory, host, port, **options))
        cleanup.append(server)
        return server

    yield serve
    spin(loop)


def address(server):
    return server.sockets[0].getsockname()


def dial(server):
    return socket.create_connection(address(server))


async def echo_once(server):
    reader, writer = await asyncio.open_connection(*address(server))
    writer.write(b"ping")
    assert await reader.readexactly(4) == b"ping"
    writer.close()
    await writer.wait_closed()


# ── binding ──────────────────────────────────────────────────────────────────────────────────


def test_is_an_asyncio_server(loop, serve):
    server = serve()
    assert isinstance(server, asyncio.Server)
    assert server.get_loop() is loop
    assert server.is_serving()
    assert "sockets=" in repr(server)


def test_port_zero_finds_a_free_port(serve, run):
    server = serve()
    assert address(server)[1] > 0
    assert isinstance(server.sockets, tuple)
    assert isinstance(server.sockets[0], asyncio.trsock.TransportSocket)
    run(echo_once(server))


def test_several_hosts(serve, run):
    server = serve(host=["127.0.0.1", "127.0.0.2"])
    assert sorted(sock.getsockname()[0] for sock in server.sockets) == ["127.0.0.1", "127.0.0.2"]
    run(echo_once(server))


def test_an_own_socket(loop, run, cleanup):
    sock = socket.create_server(("127.0.0.1", 0))
    server = run(loop.create_server(Echo, sock=sock))
    cleanup.append(server)
    assert address(server) == sock.getsockname()
    run(echo_once(server))


def test_a_taken_port_names_the_address(loop, serve, run):
    port = address(serve())[1]
    with pytest.raises(OSError, match=r"127\.0\.0\.1") as caught:
        run(loop.create_server(Echo, "127.0.0.1", port))
    assert caught.value.errno == errno.EADDRINUSE


def test_reuse_port(serve):
    first = serve(reuse_port=True)
    second = serve(port=address(first)[1], reuse_port=True)
    assert address(first) == address(second)


@pytest.mark.parametrize(
    "options",
    [
        {"host": "127.0.0.1", "port": 0, "sock": True},
        {"host": None, "port": None},
        {"host": "127.0.0.1", "port": 0, "ssl_handshake_timeout": 5},
    ],
)
def test_contradicting_arguments_are_refused(loop, run, options, cleanup):
    if "sock" in options:
        sock = socket.socket()
        cleanup.append(sock)
        options = {**options, "sock": sock}
    with pytest.raises(ValueError):
        run(loop.create_server(Echo, **options))


def test_an_ssl_flag_is_refused(loop, run):
    with pytest.raises(TypeError):
        run(loop.create_server(Echo, "127.0.0.1", 0, ssl=True))


def test_a_datagram_socket_is_refused(loop, run):
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(ValueError):
        run(loop.create_server(Echo, sock=sock))


# ── serving ──────────────────────────────────────────────────────────────────────────────────


def test_start_serving_later(serve, run):
    server = serve(start_serving=False)
    assert not server.is_serving()
    with pytest.raises(ConnectionRefusedError):
        dial(server)
    run(server.start_serving())
    run(server.start_serving())
    assert server.is_serving()
    run(echo_once(server))


def test_serve_forever_ends_when_cancelled_and_closes(loop, serve, run):
    server = serve(start_serving=False)

    async def main():
        task = loop.create_task(server.serve_forever())
        await eventually(server.is_serving)
        await echo_once(server)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert not server.is_serving() and server.sockets == ()


def test_serve_forever_ends_when_closed(loop, serve, run):
    server = serve()

    async def main():
        task = loop.create_task(server.serve_forever())
        await asyncio.sleep(0)
        server.close()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_serve_forever_twice_is_refused(loop, serve, run):
    server = serve()

    async def main():
        task = loop.create_task(server.serve_forever())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already being awaited"):
            await server.serve_forever()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(main())


def test_async_with_closes(loop, run):
    async def main():
        async with await loop.create_server(Echo, "127.0.0.1", 0) as server:
            await echo_once(server)
        assert not server.is_serving()
        with pytest.raises(RuntimeError, match="is closed"):
            await server.serve_forever()

    run(main())


def test_many_connections_at_once(serve, run):
    server = serve()

    async def main():
        await asyncio.gather(*(echo_once(server) for _ in range(100)))

    run(main())


def test_many_connections_opened_and_closed_leave_no_descriptor(loop, serve, run):
    accepted = Accepting()
    server = serve(accepted)
    where = address(server)

    async def main():
        for start in range(0, CONNECTIONS, 100):
            clients = [socket.create_connection(where) for _ in range(100)]
            await accepted.until(start + 100)
            for client in clients:
                client.close()
        await asyncio.gather(*(protocol.lost for protocol in accepted.protocols))

    run(main())
    assert len(accepted.protocols) == CONNECTIONS


def test_extra_info_of_an_accepted_connection(serve, run):
    accepted = Accepting()
    server = serve(accepted)
    with dial(server) as client:
        run(accepted.until(1))
        transport = accepted.protocols[0].transport
        assert transport.get_extra_info("peername") == client.getsockname()
        assert transport.get_extra_info("sockname") == client.getpeername()
    run(accepted.protocols[0].lost)


# ── closing ──────────────────────────────────────────────────────────────────────────────────


def test_close_stops_listening_and_keeps_connections(serve, run):
    accepted = Accepting()
    server = serve(accepted)
    where = address(server)
    client = dial(server)
    run(accepted.until(1))
    server.close()
    server.close()
    assert not server.is_serving() and server.sockets == ()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where)
    client.send(b"still there")
    run(accepted.protocols[0].until_data(11))
    client.close()
    run(accepted.protocols[0].lost)


def test_wait_closed_without_connections(serve, run):
    server = serve()
    server.close()
    run(server.wait_closed())
    run(server.wait_closed())


@since(3, 12, 1)
def test_wait_closed_waits_for_the_connections(loop, serve, run):
    accepted = Accepting()
    server = serve(accepted)

    async def main():
        client = dial(server)
        await accepted.until(1)
        waiting = loop.create_task(server.wait_closed())
        server.close()
        await asyncio.sleep(0.01)
        assert not waiting.done()
        client.close()
        await waiting

    run(main())


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="waits for the connections since 3.12")
def test_wait_closed_of_a_closed_server_does_not_wait(serve, run):
    accepted = Accepting()
    server = serve(accepted)
    with dial(server):
        run(accepted.until(1))
        server.close()
        run(server.wait_closed())
    run(accepted.protocols[0].lost)


@since(3, 13)
@pytest.mark.parametrize("method", ["close_clients", "abort_clients"])
def test_close_and_abort_clients(serve, run, method):
    accepted = Accepting()
    server = serve(accepted)

    async def main():
        with dial(server) as one, dial(server) as two:
            await accepted.until(2)
            server.close()
            getattr(server, method)()
            await server.wait_closed()
            assert one.recv(1) == two.recv(1) == b""

    run(main())
    assert all(p.calls == ["connection_made", "connection_lost"] for p in accepted.protocols)


@since(3, 13)
def test_finished_connections_leave_the_servers_list(loop, serve, run):
    accepted = Accepting()
    server = serve(accepted)
    for number in range(1, 4):
        dial(server).close()
        run(accepted.until(number))
        run(accepted.protocols[-1].lost)
    spin(loop)
    gc.collect()
    assert len(server._clients) == 0


def test_loop_closed_with_a_server_open(loop_factory, no_leaked_fds):
    loop = loop_factory()
    server = loop.run_until_complete(loop.create_server(Echo, "127.0.0.1", 0))
    server.close()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────


def test_a_raising_factory_never_harms_the_loop(loop, serve, run, errors):
    calls = []

    def factory():
        calls.append(1)
        if len(calls) == 1:
            raise Boom
        return Echo()

    server = serve(factory)

    async def main():
        client = dial(server)
        await eventually(lambda: calls)
        await echo_once(server)
        client.close()

    run(main())
    errors.take()


def test_a_raising_factory_is_reported_in_debug_mode(loop, serve, run, errors):
    loop.set_debug(True)

    def factory():
        raise Boom

    server = serve(factory)
    with dial(server):
        run(eventually(lambda: errors.contexts))
    loop.set_debug(False)
    context = errors.take_one()
    assert context["message"] == "Error on transport creation for incoming connection"


def test_a_factory_that_returns_no_protocol_never_harms_the_loop(serve, run, errors):
    made = [None, Echo()]
    server = serve(lambda: made.pop(0))

    async def main():
        with dial(server):
            await eventually(lambda: len(made) == 1)
            await echo_once(server)

    run(main())
    errors.take()
    gc.collect()


@pytest.mark.oxloop_only
def test_a_connection_whose_factory_closes_the_server_is_closed(serve, run):
    """It has nowhere to go, and is not kept for ever either. asyncio leaves it to the collector."""
    servers = []

    def factory():
        servers[0].close()
        return Echo()

    servers.append(serve(factory))

    async def main():
        with dial(servers[0]) as client:
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            assert await asyncio.wait_for(loop.sock_recv(client, 1), 5) == b""

    run(main())
    gc.collect()


# ── contexts ─────────────────────────────────────────────────────────────────────────────────

VAR = contextvars.ContextVar("VAR", default="unset")


@since(3, 15)
def test_each_connection_runs_in_a_copy_of_the_servers_context(loop, serve, run):
    seen = []

    class Look(asyncio.Protocol):
        def __init__(self):
            seen.append(VAR.get())

        def connection_made(self, transport):
            seen.append(VAR.get())
            VAR.set("changed by a connection")
            transport.close()

    token = VAR.set("server")
    try:
        server = serve(Look)
    finally:
        VAR.reset(token)
    for _ in range(2):
        with dial(server) as client:
            run(eventually(lambda: len(seen) % 2 == 0 and seen))
            run(loop.sock_recv(client_nonblocking(client), 1))
    assert seen == ["server"] * 4


def client_nonblocking(client):
    client.setblocking(False)
    return client


# ── options of the version ───────────────────────────────────────────────────────────────────


@since(3, 13)
@pytest.mark.parametrize("wanted", [True, None])
def test_keep_alive(serve, wanted):
    sock = serve(keep_alive=wanted).sockets[0]
    assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is bool(wanted)


@pytest.mark.skipif(sys.version_info < (3, 12, 4), reason="one that is missing failed all of them")
def test_an_address_that_is_not_there_is_skipped(serve, run):
    server = serve(host=["192.0.2.1", "127.0.0.1"])
    assert [sock.getsockname()[0] for sock in server.sockets] == ["127.0.0.1"]
    run(echo_once(server))


def test_no_address_is_there(loop, run):
    with pytest.raises(OSError) as caught:
        run(loop.create_server(Echo, "192.0.2.1", 0))
    assert "192.0.2.1" in str(caught.value) or "could not bind" in str(caught.value)


# ── a loop that cannot go on with a connection ───────────────────────────────────────────────


@pytest.mark.parametrize("tls", [False, True])
def test_a_raising_task_factory_never_harms_the_loop(loop, serve, run, errors, tls):
    """asyncio makes a task for each connection that it accepts."""
    server = serve(**({"ssl": server_context()} if tls else {}))
    loop.set_task_factory(raising())
    with dial(server) as client:
        ended = []
        loop.call_later(0.05, lambda: ended.append(loop.stop()))
        loop.run_forever()
        assert ended
        client.setblocking(False)
    loop.set_task_factory(None)
    run(asyncio.sleep(0.01))
    errors.take()
    if not tls:
        run(echo_once(server))


def test_a_closed_loop_makes_no_transport(loop_factory, no_leaked_fds):
    """The hook that programs with transports of their own call."""
    loop = loop_factory()
    loop.close()
    ours, peer = socket.socketpair()
    with ours, peer, contextlib.closing(loop):
        protocol = type("Plain", (asyncio.Protocol,), {})()
        gone = weakref.ref(protocol)
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            loop._make_socket_transport(ours, protocol)
        del protocol
        gc.collect()
        assert gone() is None
        if type(loop).__module__.startswith("oxloop"):
            # asyncio's half-made transport has closed it.
            ours.send(b"still open")


def test_private_names_others_read(loop, serve, run):
    server = serve(start_serving=False, ssl=server_context())
    assert server._sockets and server._loop is loop
    assert isinstance(server._ssl_context, ssl.SSLContext)
    run(server.start_serving())
    assert server._serving
    assert server._waiters == []
    server.close()
    assert server._sockets is None
    run(server.wait_closed())
    assert server._waiters is None
