"""The reading side of stream transports: pausing, EOF, half-closed connections."""

import socket

import pytest
from support import hooked, recv_all, spin


def test_all_data_arrives_in_order(loop, connect, run):
    _, protocol, peer = connect()
    data = bytes(range(256)) * 8192
    run(loop.sock_sendall(peer, data))
    run(protocol.until_data(len(data)))
    assert protocol.data == data


def test_pause_and_resume(loop, connect, run):
    transport, protocol, peer = connect()
    assert transport.is_reading()
    transport.pause_reading()
    assert not transport.is_reading()
    peer.send(b"x")
    spin(loop)
    assert protocol.data == b""
    transport.resume_reading()
    assert transport.is_reading()
    run(protocol.until_data(1))


def test_pause_in_connection_made(loop, connect, run):
    transport, protocol, peer = connect(
        hooked(connection_made=lambda transport: transport.pause_reading())
    )
    assert not transport.is_reading()
    peer.send(b"x")
    spin(loop)
    assert protocol.calls == ["connection_made"]
    transport.resume_reading()
    run(protocol.until_data(1))


def test_pause_and_resume_in_connection_made(connect, run):
    def both(transport):
        transport.pause_reading()
        transport.resume_reading()

    _, protocol, peer = connect(hooked(connection_made=both))
    peer.send(b"x")
    run(protocol.until_data(1))


def test_pause_in_data_received(loop, connect, run):
    def pause(data):
        assert transport.is_reading()
        transport.pause_reading()

    transport, protocol, peer = connect(hooked(data_received=pause))
    run(loop.sock_sendall(peer, bytes(100_000)))
    for _ in range(100):
        spin(loop)
        assert not transport.is_reading()
        calls = len(protocol.calls)
        spin(loop)
        assert len(protocol.calls) == calls
        if len(protocol.data) == 100_000:
            break
        transport.resume_reading()
    assert len(protocol.data) == 100_000


def test_eof_is_not_delivered_while_paused(loop, connect, run):
    transport, protocol, peer = connect()
    transport.pause_reading()
    peer.send(b"x")
    peer.shutdown(socket.SHUT_WR)
    spin(loop)
    assert protocol.calls == ["connection_made"]
    transport.resume_reading()
    run(protocol.lost)
    assert protocol.calls[1:] == ["data_received", "eof_received", "connection_lost"]


def test_pause_and_resume_are_idempotent(loop, connect):
    transport, _, _ = connect()
    transport.resume_reading()
    transport.pause_reading()
    transport.pause_reading()
    assert not transport.is_reading()
    transport.resume_reading()
    transport.resume_reading()
    assert transport.is_reading()


@pytest.mark.parametrize("method", ["pause_reading", "resume_reading"])
def test_pause_and_resume_after_close_do_nothing(loop, connect, run, method):
    transport, protocol, _ = connect()
    transport.close()
    getattr(transport, method)()
    assert not transport.is_reading()
    run(protocol.lost)
    getattr(transport, method)()
    assert not transport.is_reading()


def test_close_while_paused(connect, run):
    transport, protocol, _ = connect()
    transport.pause_reading()
    transport.close()
    run(protocol.lost)
    assert protocol.calls == ["connection_made", "connection_lost"]


# ── EOF and half-closed connections ──────────────────────────────────────────────────────────


def test_eof_closes_when_eof_received_returns_nothing(connect, run):
    transport, protocol, peer = connect()
    peer.shutdown(socket.SHUT_WR)
    run(protocol.lost)
    assert protocol.calls == ["connection_made", "eof_received", "connection_lost"]
    assert peer.recv(1) == b""


def test_eof_keeps_open_when_eof_received_returns_true(loop, connect, run):
    transport, protocol, peer = connect(hooked(eof_received=lambda: True))
    peer.shutdown(socket.SHUT_WR)
    run(protocol.until_called("eof_received"))
    spin(loop)
    assert protocol.calls == ["connection_made", "eof_received"]
    assert not transport.is_closing()
    transport.write(b"still writing")
    transport.close()
    assert run(recv_all(loop, peer)) == b"still writing"
    run(protocol.lost)
    assert protocol.calls.count("eof_received") == 1


def test_eof_with_data_pending_delivers_the_data_first(loop, connect, run):
    """EOF closes, and closing flushes what was written before."""
    transport, protocol, peer = connect(sndbuf=4096)
    transport.write(bytes(1 << 20))
    peer.shutdown(socket.SHUT_WR)
    run(protocol.until_called("eof_received"))
    assert len(run(recv_all(loop, peer))) == 1 << 20
    run(protocol.lost)


def test_write_eof_half_closes(loop, connect, run):
    transport, protocol, peer = connect()
    assert transport.can_write_eof()
    transport.write(b"last words")
    transport.write_eof()
    assert run(recv_all(loop, peer)) == b"last words"
    assert not transport.is_closing()
    peer.send(b"answer")
    run(protocol.until_data(6))
    peer.shutdown(socket.SHUT_WR)
    run(protocol.lost)


def test_write_eof_with_data_pending(loop, connect, run):
    transport, protocol, peer = connect(sndbuf=4096)
    data = bytes(range(256)) * 4096
    transport.write(data)
    transport.write_eof()
    assert run(recv_all(loop, peer)) == data
    transport.close()
    run(protocol.lost)


def test_write_eof_twice(loop, connect, run):
    transport, _, peer = connect()
    transport.write_eof()
    transport.write_eof()
    assert run(recv_all(loop, peer)) == b""


def test_write_after_write_eof_is_refused(connect):
    transport, _, _ = connect()
    transport.write_eof()
    with pytest.raises(RuntimeError, match="after write_eof"):
        transport.write(b"x")
    with pytest.raises(RuntimeError, match="after write_eof"):
        transport.writelines([b"x"])


def test_write_eof_then_close(loop, connect, run):
    transport, protocol, peer = connect()
    transport.write(b"bye")
    transport.write_eof()
    transport.close()
    run(protocol.lost)
    assert run(recv_all(loop, peer)) == b"bye"


def test_write_eof_after_close_does_nothing(connect, run):
    transport, protocol, _ = connect()
    transport.close()
    transport.write_eof()
    run(protocol.lost)
    transport.write_eof()
