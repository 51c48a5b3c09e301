"""TLS over transports: data, flow control, closing, what the transport tells."""

import asyncio
import os
import pathlib
import socket
import ssl
import threading

import pytest
from support import Boom, Buffered, Recorder, eventually, hooked, raising, run_child, spin
from tls_support import client_context, server_context, start_peer

pytestmark = pytest.mark.usefixtures("tls_session")

MIB = 1 << 20


@pytest.fixture
def tls_pair(loop):
    """Two ends of one TLS connection, both on the loop: `client, server = tls_pair()`."""
    made = []

    def tls_pair(client_factory=Recorder, server_factory=Recorder):
        async def open_both():
            ours, theirs = socket.socketpair()
            accepting = loop.create_task(
                loop.connect_accepted_socket(server_factory, theirs, ssl=server_context())
            )
            connecting = loop.create_connection(
                client_factory, sock=ours, ssl=client_context(), server_hostname="localhost"
            )
            (_, client), (_, server) = await asyncio.gather(connecting, accepting)
            return client, server

        pair = loop.run_until_complete(open_both())
        made.extend(pair)
        return pair

    yield tls_pair
    for protocol in made:
        protocol.transport.abort()
    spin(loop)


def test_data_both_ways(tls_pair, run):
    client, server = tls_pair()
    client.transport.write(b"ping")
    run(server.until_data(4))
    server.transport.write(b"pong")
    run(client.until_data(4))
    assert (client.data, server.data) == (b"pong", b"ping")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_big_data(tls_pair, run, kind):
    client, server = tls_pair()
    data = bytes(range(256)) * (MIB // 256)
    client.transport.write(kind(data))
    client.transport.close()
    run(server.lost)
    assert server.data == data
    assert server.calls[-2:] == ["eof_received", "connection_lost"]
    assert server.lost_with is None


def test_many_small_writes(tls_pair, run):
    client, server = tls_pair()
    for number in range(2000):
        client.transport.write(b"%d," % number)
    client.transport.writelines([b"the", b"", b"end"])
    client.transport.close()
    run(server.lost)
    assert server.data == b"".join(b"%d," % n for n in range(2000)) + b"theend"


def test_a_bytearray_changed_after_the_write(tls_pair, run):
    client, server = tls_pair()
    data = bytearray(b"x" * MIB)
    client.transport.write(data)
    data[:] = b"y" * MIB
    client.transport.write(data)
    client.transport.close()
    run(server.lost)
    assert server.data == b"x" * MIB + b"y" * MIB


def test_order_of_the_callbacks(tls_pair, run):
    client, server = tls_pair()
    client.transport.write(b"x")
    client.transport.close()
    run(asyncio.gather(client.lost, server.lost))
    assert server.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert client.calls[0] == "connection_made" and client.calls[-1] == "connection_lost"
    assert client.calls.count("connection_lost") == 1


@pytest.mark.parametrize("method", ["close", "abort"])
def test_connection_lost_never_comes_inside_close_or_abort(loop, tls_pair, run, method):
    client, server = tls_pair()
    getattr(client.transport, method)()
    assert "connection_lost" not in client.calls
    assert client.transport.is_closing()
    getattr(client.transport, method)()
    run(asyncio.gather(client.lost, server.lost))
    spin(loop)
    assert client.calls.count("connection_lost") == 1
    assert client.lost_with is None


def test_abort_drops_what_is_not_sent(tls_pair, run):
    client, server = tls_pair()
    server.transport.pause_reading()
    client.transport.write(bytes(4 * MIB))
    client.transport.abort()
    run(client.lost)
    server.transport.resume_reading()
    run(server.lost)
    assert len(server.data) < 4 * MIB


def test_abort_right_after_a_small_write(tls_pair, run):
    client, server = tls_pair()

    async def main():
        client.transport.write(b"good")
        client.transport.write(b"bye")
        client.transport.abort()

    run(main())
    run(server.lost)
    assert server.data == b"goodbye"


def test_an_error_of_the_protocol_right_after_a_small_write(tls_pair, run, errors):
    def answer(data):
        server.transport.write(b"answer")
        raise Boom

    client, server = tls_pair(server_factory=hooked(data_received=answer))
    client.transport.write(b"question")
    run(client.until_data(6))
    run(server.lost)
    assert client.data == b"answer"
    errors.take_one()


@pytest.mark.parametrize("ending", ["between", "interrupted"])
def test_writes_that_no_other_run_may_follow_are_sent(loop, tls_pair, run, ending):
    client, server = tls_pair()
    peer = socket.socket(fileno=os.dup(server.transport.get_extra_info("socket").fileno()))

    async def main():
        client.transport.write(b"goodbye")
        raise SystemExit

    with peer:
        if ending == "between":
            client.transport.write(b"goodbye")
        else:
            with pytest.raises(SystemExit):
                run(main())
        assert peer.recv(5, socket.MSG_PEEK)[0] == 23  # a record of application data


def test_pause_and_resume_reading(loop, tls_pair, run):
    client, server = tls_pair()
    assert server.transport.is_reading()
    server.transport.pause_reading()
    assert not server.transport.is_reading()
    client.transport.write(b"x")
    run(asyncio.sleep(0.01))
    assert server.data == b""
    server.transport.resume_reading()
    run(server.until_data(1))


def write_until_paused(client):
    """Write blocks of 1 MiB until the transport asks to pause; how much was written."""
    written = 0
    while "pause_writing" not in client.calls:
        assert written < 64 * MIB, "never asked to pause"
        client.transport.write(bytes(MIB))
        written += MIB
    return written


def test_flow_control(tls_pair, run):
    client, server = tls_pair()
    server.transport.pause_reading()
    written = write_until_paused(client)
    assert client.transport.get_write_buffer_size() > 0
    server.transport.resume_reading()
    run(client.until_called("resume_writing"))
    run(server.until_data(written))
    assert client.calls.count("pause_writing") == client.calls.count("resume_writing")


def test_abort_of_a_paused_writer_tells_it_nothing_but_the_end(tls_pair, run):
    client, server = tls_pair()
    server.transport.pause_reading()

    async def main():
        client.transport.write(b"waits for its flush")
        write_until_paused(client)
        client.transport.abort()

    run(main())
    run(client.lost)
    assert "resume_writing" not in client.calls
    server.transport.resume_reading()


@pytest.mark.parametrize("rest", range(4, 84, 8))
def test_a_writer_is_told_to_go_on_however_little_is_left(tls_pair, run, rest):
    """The last piece may leave too little behind for the transport below to call itself full."""
    client, server = tls_pair()
    client.transport.set_write_buffer_limits(high=64 * 1024, low=1024)
    server.transport.pause_reading()
    written = write_until_paused(client)
    client.transport.write(bytes(rest * 1024))
    server.transport.resume_reading()
    run(asyncio.wait_for(server.until_data(written + rest * 1024), 10))
    run(asyncio.wait_for(client.until_called("resume_writing"), 2))


def test_write_buffer_limits(tls_pair):
    client, _ = tls_pair()
    client.transport.set_write_buffer_limits(high=1024, low=256)
    assert client.transport.get_write_buffer_limits() == (256, 1024)
    with pytest.raises(ValueError):
        client.transport.set_write_buffer_limits(high=1, low=2)


def test_close_inside_pause_writing(tls_pair, run):
    client, server = tls_pair(hooked(pause_writing=lambda: client.transport.close()))
    written = write_until_paused(client)
    run(asyncio.wait_for(asyncio.gather(client.lost, server.lost), 2))
    assert len(server.data) == written


def test_there_is_no_half_close(tls_pair):
    client, _ = tls_pair()
    assert client.transport.can_write_eof() is False
    with pytest.raises(NotImplementedError):
        client.transport.write_eof()


def test_eof_received_cannot_keep_it_open(tls_pair, run, caplog):
    client, server = tls_pair(server_factory=hooked(eof_received=lambda: True))
    client.transport.close()
    run(asyncio.gather(client.lost, server.lost))
    assert "has no effect when using ssl" in caplog.text


def test_writes_after_close_are_dropped(tls_pair, run):
    client, server = tls_pair()
    client.transport.close()
    client.transport.write(b"late")
    run(asyncio.gather(client.lost, server.lost))
    client.transport.write(b"later")
    assert server.data == b""


@pytest.mark.parametrize("data", ["text", None, 5])
def test_other_types_are_refused(tls_pair, data):
    client, _ = tls_pair()
    with pytest.raises(TypeError):
        client.transport.write(data)


def test_extra_info(tls_pair):
    client, server = tls_pair()
    info = client.transport.get_extra_info
    assert isinstance(info("ssl_object"), ssl.SSLObject)
    assert isinstance(info("sslcontext"), ssl.SSLContext)
    assert info("cipher") == info("ssl_object").cipher()
    assert ("commonName", "localhost") in info("peercert")["subject"][0]
    assert info("compression") is None
    assert info("socket").fileno() >= 0
    assert info("sockname") is not None and info("peername") is not None
    assert info("nothing", 5) == 5
    assert not server.transport.get_extra_info("peercert")
    assert server.transport.get_extra_info("ssl_object").server_side


@pytest.mark.oxloop_only
def test_the_switch_for_the_session(tls_pair, monkeypatch):
    assert tls_pair()[0].transport._session in ("direct", "object")
    monkeypatch.setattr("oxloop._hooks.tls.TLS_SESSION", "object")
    assert tls_pair()[0].transport._session == "object"


@pytest.mark.oxloop_only
@pytest.mark.parametrize(
    "library",
    [
        "lambda: (None, object)",
        "lambda: ('/nowhere/_ssl.so', object)",
        "lambda: (library()[0], object)",
        "lambda: (math.__file__, library()[1])",
    ],
)
def test_an_openssl_that_cannot_be_found_is_done_without(library):
    """As with an OpenSSL that is linked statically into the interpreter."""
    child = run_child(
        "oxloop",
        f"""
        import math, socket, sys
        sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
        from oxloop import _hooks
        from tls_support import client_context, server_context

        library = _hooks.tls_library
        _hooks.tls_library = {library}

        async def main():
            loop = asyncio.get_running_loop()
            ours, theirs = socket.socketpair()
            accepting = asyncio.open_connection(sock=ours, ssl=client_context(),
                                                server_hostname="localhost")
            (_, writer), (server, _) = await asyncio.gather(
                accepting,
                loop.connect_accepted_socket(asyncio.Protocol, theirs, ssl=server_context()),
            )
            writer.write(b"x")
            print(writer.transport._session, server._session)
            server.abort()
            writer.transport.abort()

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main())
        """,
        env={**os.environ, "OXLOOP_TLS": ""},
    )
    assert child.stdout == "object object\n", child.stderr


@pytest.mark.oxloop_only
def test_a_session_that_cannot_go_where_it_is_told_to(tls_pair, monkeypatch):
    class Own(ssl.SSLObject):
        pass

    monkeypatch.setattr("oxloop._hooks.tls.TLS_SESSION", "direct")
    monkeypatch.setattr(ssl.SSLContext, "sslobject_class", Own)
    with pytest.raises(RuntimeError, match="OXLOOP_TLS=direct"):
        tls_pair()


def test_set_protocol(tls_pair, run):
    async def new_recorder():
        return Recorder()

    client, server = tls_pair()
    second = run(new_recorder())
    server.transport.set_protocol(second)
    assert server.transport.get_protocol() is second
    client.transport.write(b"x")
    run(second.until_data(1))
    assert server.data == b""


# ── exceptions in the protocol ───────────────────────────────────────────────────────────────


def test_exception_in_data_received(tls_pair, run, errors):
    client, server = tls_pair(server_factory=hooked(data_received=raising()))
    client.transport.write(b"x")
    run(asyncio.gather(client.lost, server.lost))
    assert isinstance(errors.take()[0]["exception"], Boom)
    assert isinstance(server.lost_with, Boom)


def test_exception_in_connection_lost(loop, tls_pair, run, errors):
    client, server = tls_pair(hooked(connection_lost=raising()))
    client.transport.close()
    run(asyncio.gather(client.lost, server.lost))
    spin(loop)
    errors.take_one()


# ── buffered protocols ───────────────────────────────────────────────────────────────────────


def receive_many_records(loop, make_buffer):
    """Let 200 records queue up while reading is paused, then take them all."""
    sent, go_on = threading.Event(), threading.Event()

    def talk(tls):
        for number in range(200):
            tls.sendall(b"%09d," % number)
        sent.set()
        go_on.wait(20)
        tls.unwrap()

    peer, ours = start_peer(talk)

    async def main():
        transport, protocol = await loop.create_connection(
            lambda: Buffered(make_buffer()),
            sock=ours,
            ssl=client_context(),
            server_hostname="localhost",
        )
        transport.pause_reading()
        await eventually(sent.is_set)
        await asyncio.sleep(0.01)
        transport.resume_reading()
        go_on.set()
        await protocol.lost
        return bytes(protocol.data)

    received = loop.run_until_complete(main())
    peer.join()
    return received


RECORDS = b"".join(b"%09d," % number for number in range(200))


def test_a_buffered_protocol_with_a_memoryview(loop):
    assert receive_many_records(loop, lambda: memoryview(bytearray(65536))) == RECORDS


@pytest.mark.asyncio_wrong("all but the first record go to a copy of a bytearray")
def test_a_buffered_protocol_with_a_bytearray(loop):
    assert receive_many_records(loop, lambda: bytearray(65536)) == RECORDS
