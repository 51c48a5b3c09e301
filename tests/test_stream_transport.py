"""Stream transports: life and death, order of the protocol's callbacks, what they tell."""

import asyncio
import gc
import socket
import weakref

import pytest
from support import Boom, Recorder, hooked, raising, spin


def reset(sock):
    """Close a TCP socket so that its peer sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


@pytest.fixture
def connect_tcp(loop, listener, cleanup):
    """Like `connect`, over TCP."""
    made = []

    def connect_tcp(factory=Recorder):
        opening = loop.create_connection(factory, *listener.getsockname())
        transport, protocol = loop.run_until_complete(opening)
        peer, _ = loop.run_until_complete(loop.sock_accept(listener))
        made.append(transport)
        cleanup.append(peer)
        return transport, protocol, peer

    yield connect_tcp
    for transport in made:
        transport.abort()
    spin(loop)


def test_callbacks_come_in_order_and_once(connect, run):
    transport, protocol, peer = connect()
    peer.send(b"data")
    peer.shutdown(socket.SHUT_WR)
    run(protocol.lost)
    assert protocol.calls == [
        "connection_made",
        "data_received",
        "eof_received",
        "connection_lost",
    ]
    assert protocol.lost_with is None
    assert protocol.transport is transport


def test_connection_made_comes_before_create_connection_returns(connect):
    _, protocol, _ = connect()
    assert protocol.calls == ["connection_made"]


def test_data_sent_before_the_connection_is_delivered_after_connection_made(loop, run):
    ours, peer = socket.socketpair()
    peer.send(b"early")
    transport, protocol = run(loop.create_connection(Recorder, sock=ours))
    run(protocol.until_data(5))
    assert protocol.calls == ["connection_made", "data_received"]
    transport.abort()
    peer.close()


def test_is_an_asyncio_transport(connect):
    transport, _, _ = connect()
    assert isinstance(transport, asyncio.Transport)
    assert isinstance(transport, asyncio.transports._FlowControlMixin)


def test_takes_weakrefs_and_attributes(connect):
    transport, _, _ = connect()
    assert weakref.ref(transport)() is transport
    written = []
    transport.write = written.append
    transport.write(b"mine")
    assert written == [b"mine"]
    assert "write" in transport.__dict__
    del transport.write


# ── close and abort ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["close", "abort"])
def test_connection_lost_never_comes_inside_close_or_abort(connect, run, method):
    transport, protocol, peer = connect()
    getattr(transport, method)()
    assert "connection_lost" not in protocol.calls
    assert transport.is_closing()
    run(protocol.lost)
    assert protocol.lost_with is None
    assert peer.recv(1) == b""


@pytest.mark.parametrize("method", ["close", "abort"])
def test_connection_lost_never_comes_inside_close_called_by_a_callback(connect, run, method):
    calls = []

    def data_received(data):
        getattr(transport, method)()
        calls.extend(protocol.calls)

    transport, protocol, peer = connect(hooked(data_received=data_received))
    peer.send(b"x")
    run(protocol.lost)
    assert calls == ["connection_made", "data_received"]


@pytest.mark.parametrize("first", ["close", "abort"])
@pytest.mark.parametrize("second", ["close", "abort"])
def test_connection_lost_comes_once(loop, connect, run, first, second):
    transport, protocol, _ = connect()
    getattr(transport, first)()
    getattr(transport, second)()
    run(protocol.lost)
    getattr(transport, second)()
    spin(loop)
    assert protocol.calls.count("connection_lost") == 1


def test_close_inside_connection_made(loop, run):
    ours, peer = socket.socketpair()
    peer.send(b"x")
    factory = hooked(connection_made=lambda transport: transport.close())
    _, protocol = run(loop.create_connection(factory, sock=ours))
    run(protocol.lost)
    spin(loop)
    peer.close()
    assert protocol.calls == ["connection_made", "connection_lost"]


@pytest.mark.parametrize("method", ["close", "abort"])
def test_nothing_is_delivered_after_close(loop, connect, run, method):
    transport, protocol, peer = connect()
    peer.send(b"x")
    getattr(transport, method)()
    run(protocol.lost)
    spin(loop)
    assert protocol.calls == ["connection_made", "connection_lost"]


def test_close_inside_data_received_stops_delivery(loop, connect, run):
    chunks = []
    transport, protocol, peer = connect(
        hooked(data_received=lambda data: (chunks.append(data), transport.close()))
    )
    peer.send(b"one")
    run(protocol.lost)
    assert chunks == [b"one"]


@pytest.mark.parametrize("method", ["close", "abort"])
def test_the_socket_is_closed_after_connection_lost(loop, connect, run, method):
    fileno = []
    transport, protocol, _ = connect(
        hooked(connection_lost=lambda exc: fileno.append(sock.fileno()))
    )
    sock = transport.get_extra_info("socket")
    getattr(transport, method)()
    run(protocol.lost)
    spin(loop)
    assert fileno[0] >= 0
    assert sock.fileno() == -1


def test_a_reset_reaches_connection_lost(connect_tcp, run):
    _, protocol, peer = connect_tcp()
    reset(peer)
    run(protocol.lost)
    assert isinstance(protocol.lost_with, ConnectionResetError)
    assert protocol.calls == ["connection_made", "connection_lost"]


def test_a_write_to_a_vanished_peer_reaches_connection_lost(loop, connect, run):
    transport, protocol, peer = connect()
    transport.pause_reading()
    peer.close()
    for _ in range(3):
        transport.write(b"x")
        spin(loop, turns=2)
    run(protocol.lost)
    assert isinstance(protocol.lost_with, ConnectionError)
    assert protocol.calls[-1] == "connection_lost"


def test_writes_after_the_loss_only_warn(loop, connect, run, caplog):
    transport, protocol, _ = connect()
    transport.abort()
    for _ in range(10):
        transport.write(b"lost")
    run(protocol.lost)
    for _ in range(10):
        transport.write(b"lost")
    messages = {record.getMessage() for record in caplog.records if record.name == "asyncio"}
    assert messages == {"socket.send() raised exception."}


def test_an_unclosed_transport_warns(loop_factory):
    loop = loop_factory()
    ours, peer = socket.socketpair()
    transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=ours))
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        del transport, ours
        gc.collect()
    peer.close()


# ── exceptions in the protocol ───────────────────────────────────────────────────────────────


def test_exception_in_connection_made(connect, errors):
    connect(hooked(connection_made=raising()))
    errors.take_one()


def test_exception_in_data_received_closes(connect, run, errors):
    transport, protocol, peer = connect(hooked(data_received=raising()))
    peer.send(b"x")
    run(protocol.lost)
    context = errors.take_one()
    assert context["message"] == "Fatal error: protocol.data_received() call failed."
    assert context["transport"] is transport and context["protocol"] is protocol
    assert isinstance(protocol.lost_with, Boom)


def test_exception_in_eof_received_closes(connect, run, errors):
    transport, protocol, peer = connect(hooked(eof_received=raising()))
    peer.shutdown(socket.SHUT_WR)
    run(protocol.lost)
    context = errors.take_one()
    assert context["message"] == "Fatal error: protocol.eof_received() call failed."
    assert context["transport"] is transport and context["protocol"] is protocol
    assert isinstance(protocol.lost_with, Boom)


def test_an_oserror_in_data_received_closes_without_a_report(connect, run):
    _, protocol, peer = connect(hooked(data_received=raising(ConnectionResetError)))
    peer.send(b"x")
    run(protocol.lost)
    assert isinstance(protocol.lost_with, ConnectionResetError)


def test_exception_in_connection_lost(loop, connect, run, errors):
    transport, protocol, peer = connect(hooked(connection_lost=raising()))
    transport.close()
    run(protocol.lost)
    spin(loop)
    errors.take_one()
    assert peer.recv(1) == b""


# ── set_protocol ─────────────────────────────────────────────────────────────────────────────


def test_set_protocol_takes_effect_for_the_next_callback(loop, connect, run):
    def upgrade(data):
        second.append(Recorder())
        transport.set_protocol(second[0])
        assert transport.get_protocol() is second[0]

    second = []
    transport, first, peer = connect(hooked(data_received=upgrade))
    assert transport.get_protocol() is first
    peer.send(b"one")
    run(first.until_data(3))
    peer.send(b"two")
    peer.shutdown(socket.SHUT_WR)
    run(second[0].lost)
    assert first.calls == ["connection_made", "data_received"]
    assert second[0].calls == ["data_received", "eof_received", "connection_lost"]
    assert second[0].data == b"two"


def test_set_protocol_inside_connection_made(connect, run):
    second = []

    def switch(transport):
        second.append(Recorder())
        transport.set_protocol(second[0])

    _, first, peer = connect(hooked(connection_made=switch))
    peer.send(b"x")
    run(second[0].until_data(1))
    assert first.calls == ["connection_made"]


def test_set_protocol_between_close_and_loss(connect, run):
    async def switch():
        second = Recorder()
        transport.close()
        transport.set_protocol(second)
        await second.lost
        return second

    transport, first, _ = connect()
    assert run(switch()).calls == ["connection_lost"]
    assert first.calls == ["connection_made"]


# ── get_extra_info ───────────────────────────────────────────────────────────────────────────


def test_extra_info_of_tcp(connect_tcp, listener):
    transport, _, peer = connect_tcp()
    assert transport.get_extra_info("peername") == listener.getsockname()
    assert transport.get_extra_info("sockname") == peer.getpeername()
    sock = transport.get_extra_info("socket")
    assert isinstance(sock, asyncio.trsock.TransportSocket)
    assert sock.type == socket.SOCK_STREAM and sock.family == socket.AF_INET
    assert sock.getsockname() == peer.getpeername()


def test_extra_info_of_unknown_names(connect):
    transport, _, _ = connect()
    assert transport.get_extra_info("no such name") is None
    assert transport.get_extra_info("no such name", "default") == "default"
    assert transport.get_extra_info("sslcontext") is None


def test_names_are_kept_after_the_loss(connect_tcp, run, listener):
    transport, protocol, peer = connect_tcp()
    transport.close()
    run(protocol.lost)
    assert transport.get_extra_info("peername") == listener.getsockname()
    assert transport.get_extra_info("sockname") == peer.getpeername()


def test_tcp_has_nodelay(connect_tcp):
    transport, _, _ = connect_tcp()
    sock = transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_private_names_others_read(loop, connect):
    transport, protocol, _ = connect()
    assert transport._loop is loop
    assert transport._protocol is protocol
    assert transport._sock.fileno() == transport.get_extra_info("socket").fileno()
    assert transport._extra["socket"] is transport.get_extra_info("socket")
    assert transport._paused is False
