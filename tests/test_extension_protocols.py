"""crates/extension: protocols in Rust, on transports of oxloop and of asyncio."""

import asyncio
import gc
import socket
import weakref

import pytest
from extension_support import built, nothing_left_of
from support import Boom, eventually, recv_all, recv_exactly, spin
from tls_support import client_context, server_context

probe = built("oxloop_probe")
nothing_left = nothing_left_of(probe)


def names(log):
    return [name for name, _ in log]


async def peer_of(server):
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, server.sockets[0].getsockname())
    return sock


def test_a_server_in_rust(loop, run):
    async def main():
        server = await loop.create_server(probe.echo(), "127.0.0.1", 0)
        peers = [await peer_of(server) for _ in range(3)]
        for peer in peers:
            await loop.sock_sendall(peer, b"ping" * 10)
        for peer in peers:
            assert await recv_exactly(loop, peer, 40) == b"ping" * 10
            peer.close()
        server.close()
        await server.wait_closed()

    run(main())
    spin(loop)


def test_a_lot_of_data(loop, run):
    data = bytes(range(256)) * (1 << 14)

    async def main():
        server = await loop.create_server(probe.echo(), "127.0.0.1", 0)
        peer = await peer_of(server)
        sending = asyncio.ensure_future(loop.sock_sendall(peer, data))
        assert await recv_exactly(loop, peer, len(data)) == data
        await sending
        peer.close()
        server.close()

    run(main())
    spin(loop)


def test_callbacks_and_their_order(loop, connect):
    log = []
    transport, _, peer = connect(probe.recorder(log, {}))
    assert log == [("connection_made", transport)]
    peer.send(b"first")
    spin(loop)
    peer.send(b"second")
    peer.shutdown(socket.SHUT_WR)
    spin(loop)
    assert log[1:] == [
        ("data_received", b"first"),
        ("data_received", b"second"),
        ("eof_received", None),
        ("connection_lost", None),
    ]


def test_keeping_a_half_closed_connection(loop, run, connect):
    log = []
    transport, _, peer = connect(probe.recorder(log, {"eof_received": "keep"}))
    peer.shutdown(socket.SHUT_WR)
    spin(loop)
    assert names(log) == ["connection_made", "eof_received"]
    transport.write(b"still here")
    transport.close()
    assert run(recv_all(loop, peer)) == b"still here"


@pytest.mark.parametrize("how", ["write", "write_pieces"])
def test_writing(run, loop, connect, how):
    _, _, peer = connect(probe.recorder([], {"data_received": how}))
    peer.send(b"?")
    assert run(recv_exactly(loop, peer, 5)) == b"hello"


@pytest.mark.parametrize("how", ["close", "abort"])
def test_ending_the_connection(loop, connect, how):
    log = []
    _, _, peer = connect(probe.recorder(log, {"data_received": how}))
    peer.send(b"?")
    spin(loop)
    assert names(log) == ["connection_made", "data_received", "connection_lost"]
    assert peer.recv(1) == b""


def test_ending_the_output(loop, connect):
    _, _, peer = connect(probe.recorder([], {"data_received": "write_eof"}))
    peer.send(b"?")
    spin(loop)
    assert peer.recv(1) == b""
    peer.send(b"more")


def test_asking_whether_it_closes(loop, connect):
    log = []
    transport, _, peer = connect(probe.recorder(log, {"data_received": "is_closing"}))
    peer.send(b"?")
    spin(loop)
    transport.close()
    assert ("closing", False) in log


def test_pausing(loop, connect):
    log = []
    plan = {"connection_made": "pause_reading"}
    transport, _, peer = connect(probe.recorder(log, plan))
    peer.send(b"waits")
    spin(loop)
    assert names(log) == ["connection_made"]
    transport.resume_reading()
    spin(loop)
    assert log[1] == ("data_received", b"waits")


def test_flow_control_waits_for_the_callback(loop, run, connect):
    log = []
    plan = {"data_received": "write_much"}
    _, _, peer = connect(probe.recorder(log, plan), sndbuf=4096)
    peer.send(b"?")
    spin(loop)
    assert names(log) == ["connection_made", "data_received", "pause_writing"]
    run(recv_exactly(loop, peer, 8 << 20))
    spin(loop)
    assert names(log)[3:] == ["resume_writing"]


@pytest.mark.parametrize("how, kind", [("raise", ValueError), ("panic", RuntimeError)])
@pytest.mark.parametrize("where", ["data_received", "eof_received"])
def test_errors_end_the_connection(loop, errors, connect, how, kind, where):
    log = []
    _, _, peer = connect(probe.recorder(log, {where: how}))
    peer.send(b"?")
    peer.shutdown(socket.SHUT_WR)
    spin(loop)
    context = errors.take_one(kind)
    assert context["message"] == f"Fatal error: protocol.{where}() call failed."
    assert isinstance(log[-1][1], kind)


@pytest.mark.parametrize("how, kind", [("raise", ValueError), ("panic", RuntimeError)])
def test_errors_of_connection_lost_are_told(loop, errors, connect, how, kind):
    transport, _, _ = connect(probe.recorder([], {"connection_lost": how}))
    transport.close()
    spin(loop)
    errors.take_one(kind)


def test_a_protocol_is_not_called_from_within_itself(loop, errors, connect):
    _, _, peer = connect(probe.recorder([], {"data_received": "reenter"}))
    peer.send(b"?")
    spin(loop)
    assert "from within itself" in str(errors.take_one(RuntimeError)["exception"])


def test_another_protocol_takes_over(loop, connect):
    log = []
    transport, protocol, peer = connect(probe.recorder(log, {"data_received": "drop_self"}))
    peer.send(b"first")
    spin(loop)
    peer.send(b"second")
    spin(loop)
    assert names(log) == ["connection_made", "data_received"]
    assert transport.get_protocol() is not protocol


@pytest.mark.oxloop_only
def test_taking_over_from_another(loop, connect):
    log = []
    transport, _, peer = connect()
    protocol = probe.recorder(log, {})()
    transport.set_protocol(protocol)
    peer.send(b"mine")
    spin(loop)
    assert log == [("data_received", b"mine")]
    transport.close()
    spin(loop)


def test_a_protocol_that_was_never_connected():
    protocol = probe.echo()()
    with pytest.raises(RuntimeError, match="not connected"):
        protocol.data_received(b"data")


def test_buffers_that_are_not_bytes(loop, connect):
    log = []
    _, protocol, _ = connect(probe.recorder(log, {}))
    protocol.data_received(bytes(bytearray(b"by hand")))
    assert log[-1] == ("data_received", b"by hand")
    with pytest.raises(TypeError):
        protocol.data_received("text")


def test_over_tls(loop, run):
    async def main():
        log = []
        factory = probe.recorder(log, {"data_received": "write"})
        server = await loop.create_server(factory, "127.0.0.1", 0, ssl=server_context())
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context(), server_hostname="localhost"
        )
        writer.write(b"secret")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await eventually(lambda: "connection_lost" in names(log))
        assert ("data_received", b"secret") in log
        server.close()
        await server.wait_closed()

    run(main())
    spin(loop)


def test_a_client_in_rust(loop, run, listener):
    async def main():
        log = []
        factory = probe.recorder(log, {"connection_made": "write"})
        transport, protocol = await loop.create_connection(factory, *listener.getsockname())
        peer, _ = await loop.sock_accept(listener)
        assert await recv_exactly(loop, peer, 5) == b"hello"
        assert transport.get_protocol() is protocol
        transport.close()
        await eventually(lambda: "connection_lost" in names(log))
        peer.close()

    run(main())


def test_cycles_are_collected(loop, connect):
    class Log(list):
        pass

    log = Log()
    protocol = probe.recorder(log, {})()
    log.append(protocol)
    gone = weakref.ref(log)
    del protocol, log
    gc.collect()
    assert gone() is None


def test_transport_and_protocol_go_with_their_loop(loop_factory):
    loop = loop_factory()
    before = probe.live()
    ours, peer = socket.socketpair()
    with peer:
        loop.run_until_complete(loop.create_connection(probe.echo(), sock=ours))
        loop.close()
        with pytest.warns(ResourceWarning):
            del ours, loop
            gc.collect()
        gc.collect()  # the warning knew the transport
        assert probe.live() == before


def test_the_type_cannot_be_made_in_python():
    kind = type(probe.echo()())
    assert kind.__name__ == "NativeProtocol"
    with pytest.raises(TypeError):
        kind()


def test_a_factory_is_named():
    assert "Echo" in repr(probe.echo())


def test_errors_of_python_keep_their_type(loop, errors, connect):
    class Refusing(list):
        def append(self, item):
            if item[0] == "data_received":
                raise Boom("no more")

    _, _, peer = connect(probe.recorder(Refusing(), {}))
    peer.send(b"?")
    spin(loop)
    errors.take_one(Boom)
