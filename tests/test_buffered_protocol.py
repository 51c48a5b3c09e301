"""BufferedProtocol: data arrives in the protocol's own buffer."""

import asyncio
import socket

import pytest
from support import Boom, eventually, raising, recv_all, spin


class Buffered(asyncio.BufferedProtocol):
    """Collects through one buffer of `size` bytes; hooks replace the callbacks' results."""

    def __init__(self, size=100, **hooks):
        self.hooks = hooks
        self.buffer = bytearray(size)
        self.data = bytearray()
        self.calls = []
        self.hints = []
        self.lost_with = "not lost"

    def connection_made(self, transport):
        self.transport = transport
        self.calls.append("connection_made")

    def get_buffer(self, sizehint):
        self.hints.append(sizehint)
        if "get_buffer" in self.hooks:
            return self.hooks["get_buffer"](self)
        return self.buffer

    def buffer_updated(self, nbytes):
        self.calls.append("buffer_updated")
        self.data += self.buffer[:nbytes]
        if "buffer_updated" in self.hooks:
            self.hooks["buffer_updated"](self)

    def eof_received(self):
        self.calls.append("eof_received")
        if "eof_received" in self.hooks:
            return self.hooks["eof_received"](self)

    def connection_lost(self, exc):
        self.lost_with = exc
        self.calls.append("connection_lost")

    def until_lost(self):
        return eventually(lambda: self.lost_with != "not lost")


def test_data_arrives_in_the_protocols_buffer(loop, connect, run):
    transport, protocol, peer = connect(Buffered)
    data = bytes(range(256)) * 100
    run(loop.sock_sendall(peer, data))
    peer.shutdown(socket.SHUT_WR)
    run(protocol.until_lost())
    assert protocol.data == data
    assert protocol.calls[0] == "connection_made"
    assert protocol.calls[-2:] == ["eof_received", "connection_lost"]
    assert protocol.lost_with is None


def test_the_size_hint_is_an_int(loop, connect, run):
    _, protocol, peer = connect(Buffered)
    peer.send(b"x")
    run(eventually(lambda: protocol.data))
    assert all(type(hint) is int for hint in protocol.hints)


@pytest.mark.parametrize("size", [1, 7, 65536])
def test_no_more_than_the_buffer_holds(loop, connect, run, size):
    _, protocol, peer = connect(lambda: Buffered(size))
    run(loop.sock_sendall(peer, b"0123456789" * 10))
    run(eventually(lambda: len(protocol.data) == 100))
    assert protocol.data == b"0123456789" * 10


def test_a_memoryview_as_buffer(loop, connect, run):
    _, protocol, peer = connect(
        lambda: Buffered(get_buffer=lambda self: memoryview(self.buffer)[:10])
    )
    peer.send(b"x" * 25)
    run(eventually(lambda: len(protocol.data) == 25))


def test_pause_and_resume(loop, connect, run):
    transport, protocol, peer = connect(
        lambda: Buffered(10, buffer_updated=lambda self: self.transport.pause_reading())
    )
    peer.send(b"x" * 20)
    run(eventually(lambda: protocol.data))
    spin(loop)
    assert len(protocol.data) == 10
    transport.resume_reading()
    run(eventually(lambda: len(protocol.data) == 20))


def test_close_inside_buffer_updated(loop, connect, run):
    _, protocol, peer = connect(
        lambda: Buffered(10, buffer_updated=lambda self: self.transport.close())
    )
    peer.send(b"x" * 20)
    run(protocol.until_lost())
    assert protocol.calls == ["connection_made", "buffer_updated", "connection_lost"]


def test_eof_may_keep_the_connection_open(loop, connect, run):
    transport, protocol, peer = connect(lambda: Buffered(eof_received=lambda self: True))
    peer.shutdown(socket.SHUT_WR)
    run(eventually(lambda: "eof_received" in protocol.calls))
    transport.write(b"answer")
    transport.close()
    assert run(recv_all(loop, peer)) == b"answer"


# ── errors ───────────────────────────────────────────────────────────────────────────────────


def check_fatal(errors, protocol, method, exception):
    context = errors.take_one(exception)
    assert context["message"] == f"Fatal error: protocol.{method}() call failed."
    assert context["protocol"] is protocol
    assert context["transport"] is protocol.transport
    assert isinstance(protocol.lost_with, exception)


@pytest.mark.parametrize("method", ["get_buffer", "buffer_updated", "eof_received"])
def test_an_exception_closes(connect, run, errors, method):
    _, protocol, peer = connect(lambda: Buffered(**{method: raising()}))
    peer.send(b"x")
    peer.shutdown(socket.SHUT_WR)
    run(protocol.until_lost())
    check_fatal(errors, protocol, method, Boom)


def test_an_empty_buffer_closes(connect, run, errors):
    _, protocol, peer = connect(lambda: Buffered(0))
    peer.send(b"x")
    run(protocol.until_lost())
    check_fatal(errors, protocol, "get_buffer", RuntimeError)


@pytest.mark.parametrize("wrong", [None, 5, object()])
def test_what_is_no_buffer_closes(connect, run, errors, wrong):
    _, protocol, peer = connect(lambda: Buffered(get_buffer=lambda self: wrong))
    peer.send(b"x")
    run(protocol.until_lost())
    check_fatal(errors, protocol, "get_buffer", TypeError)


@pytest.mark.parametrize("wrong", [b"read only", "text"])
def test_a_buffer_that_cannot_be_written_closes(connect, run, errors, wrong):
    _, protocol, peer = connect(lambda: Buffered(get_buffer=lambda self: wrong))
    peer.send(b"x")
    run(protocol.until_lost())
    context = errors.take_one(Exception)
    assert isinstance(context["exception"], (TypeError, BufferError))
    assert context["transport"] is protocol.transport
    assert isinstance(protocol.lost_with, (TypeError, BufferError))


# ── switching between the two kinds ──────────────────────────────────────────────────────────


def test_switch_from_plain_to_buffered(loop, connect, run):
    transport, plain, peer = connect()
    peer.send(b"one")
    run(plain.until_data(3))
    buffered = Buffered()
    transport.set_protocol(buffered)
    peer.send(b"two")
    run(eventually(lambda: buffered.data == b"two"))
    transport.set_protocol(plain)
    peer.send(b"three")
    run(plain.until_data(8))
    assert plain.data == b"onethree"


def test_the_buffer_is_free_between_reads(loop, connect, run):
    """The transport holds no export of the buffer while it waits: it may be resized."""
    _, protocol, peer = connect(Buffered)
    peer.send(b"x")
    run(eventually(lambda: protocol.data))
    protocol.buffer.extend(b"more room")
    peer.send(b"y")
    run(eventually(lambda: len(protocol.data) == 2))
