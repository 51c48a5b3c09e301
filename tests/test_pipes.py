"""Pipe transports: both ends, closing, flow control, what is not a pipe."""

import asyncio
import os
import socket

import pytest
from support import Recorder, hooked, raising, spin

MIB = 1 << 20


@pytest.fixture
def pipe():
    """A pipe's two ends as unbuffered files."""
    read_end, write_end = os.pipe()
    with open(read_end, "rb", 0) as reading, open(write_end, "wb", 0) as writing:
        yield reading, writing


def connect_read(loop, reading, factory=Recorder):
    return loop.run_until_complete(loop.connect_read_pipe(factory, reading))


def connect_write(loop, writing, factory=Recorder):
    return loop.run_until_complete(loop.connect_write_pipe(factory, writing))


# ── reading ──────────────────────────────────────────────────────────────────────────────────


def test_read_until_eof(loop, pipe, run):
    reading, writing = pipe
    transport, protocol = connect_read(loop, reading)
    assert isinstance(transport, asyncio.ReadTransport)
    assert transport.get_extra_info("pipe") is reading
    os.write(writing.fileno(), b"data")
    run(protocol.until_data(4))
    writing.close()
    run(protocol.lost)
    spin(loop)
    assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert protocol.lost_with is None and reading.closed


def test_pause_and_resume_reading(loop, pipe, run):
    reading, writing = pipe
    transport, protocol = connect_read(loop, reading)
    assert transport.is_reading()
    transport.pause_reading()
    assert not transport.is_reading()
    os.write(writing.fileno(), b"x")
    spin(loop)
    assert protocol.data == b""
    transport.resume_reading()
    run(protocol.until_data(1))
    transport.close()
    run(protocol.lost)
    spin(loop)


def test_pause_in_connection_made(loop, pipe, run):
    reading, writing = pipe
    factory = hooked(connection_made=lambda transport: transport.pause_reading())
    os.write(writing.fileno(), b"x")
    transport, protocol = connect_read(loop, reading, factory)
    spin(loop)
    assert protocol.data == b""
    transport.resume_reading()
    run(protocol.until_data(1))
    transport.close()
    run(protocol.lost)
    spin(loop)


def test_close_the_reading_end(loop, pipe, run):
    reading, writing = pipe
    transport, protocol = connect_read(loop, reading)
    transport.close()
    assert transport.is_closing() and "connection_lost" not in protocol.calls
    transport.close()
    run(protocol.lost)
    spin(loop)
    assert protocol.calls == ["connection_made", "connection_lost"]
    with pytest.raises(BrokenPipeError):
        os.write(writing.fileno(), b"x")


def test_exception_in_data_received(loop, pipe, run, errors):
    reading, writing = pipe
    transport, protocol = connect_read(loop, reading, hooked(data_received=raising()))
    os.write(writing.fileno(), b"x")
    run(protocol.until_called("data_received"))
    spin(loop)
    errors.take_one()
    transport.close()
    spin(loop)


# ── writing ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_write(loop, pipe, run, kind):
    reading, writing = pipe
    transport, protocol = connect_write(loop, writing)
    assert isinstance(transport, asyncio.WriteTransport)
    assert transport.get_extra_info("pipe") is writing
    transport.write(kind(b"hello"))
    transport.write(b"")
    transport.writelines([b" ", b"there"])
    transport.close()
    run(protocol.lost)
    spin(loop)
    assert reading.read() == b"hello there"


@pytest.mark.parametrize("end", ["close", "write_eof"])
def test_big_data_is_flushed(loop, pipe, run, end):
    reading, writing = pipe
    transport, writer = connect_write(loop, writing)
    _, reader = connect_read(loop, reading)
    data = bytes(range(256)) * (MIB // 256)
    transport.write(data)
    assert transport.can_write_eof()
    getattr(transport, end)()
    assert transport.is_closing() and "connection_lost" not in writer.calls
    run(asyncio.gather(writer.lost, reader.lost))
    spin(loop)
    assert reader.data == data
    assert writer.lost_with is None


def test_a_bytearray_changed_after_the_write(loop, pipe, run):
    reading, writing = pipe
    transport, writer = connect_write(loop, writing)
    _, reader = connect_read(loop, reading)
    data = bytearray(b"x" * MIB)
    transport.write(data)
    data[:] = b"y" * MIB
    transport.close()
    run(asyncio.gather(writer.lost, reader.lost))
    spin(loop)
    assert reader.data == b"x" * MIB


def test_flow_control(loop, pipe, run):
    reading, writing = pipe
    transport, writer = connect_write(loop, writing)
    assert transport.get_write_buffer_limits() == (16384, 65536)
    transport.write(bytes(MIB))
    assert writer.calls == ["connection_made", "pause_writing"]
    assert transport.get_write_buffer_size() > 65536
    _, reader = connect_read(loop, reading)
    run(reader.until_data(MIB))
    run(writer.until_called("resume_writing"))
    transport.close()
    run(asyncio.gather(writer.lost, reader.lost))
    spin(loop)


def test_abort_drops_what_waits(loop, pipe, run):
    reading, writing = pipe
    transport, protocol = connect_write(loop, writing)
    transport.write(bytes(MIB))
    transport.abort()
    run(protocol.lost)
    spin(loop)
    assert len(reading.read()) < MIB
    assert protocol.calls.count("connection_lost") == 1


def test_the_peers_close_is_noticed(loop, pipe, run):
    reading, writing = pipe
    transport, protocol = connect_write(loop, writing)
    reading.close()
    run(protocol.lost)
    spin(loop)
    assert protocol.lost_with is None
    assert transport.is_closing()


def test_the_peers_close_with_data_waiting(loop, pipe, run):
    reading, writing = pipe
    transport, protocol = connect_write(loop, writing)
    transport.write(bytes(MIB))
    reading.close()
    run(protocol.lost)
    spin(loop)
    assert isinstance(protocol.lost_with, BrokenPipeError)


def test_writes_after_the_loss_only_warn(loop, pipe, run, caplog):
    reading, writing = pipe
    transport, protocol = connect_write(loop, writing)
    reading.close()
    run(protocol.lost)
    spin(loop)
    for _ in range(10):
        transport.write(b"x")
    assert "pipe closed by peer or os.write(pipe, data) raised exception." in caplog.text


# ── what can be a pipe ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("connect, mode", [(connect_read, "rb"), (connect_write, "wb")])
def test_a_regular_file_is_refused(loop, tmp_path, connect, mode):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with open(path, mode) as file, pytest.raises(ValueError, match=r"[Pp]ipe transport is"):
        connect(loop, file)


def test_a_fifo(loop, tmp_path, run):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    both = os.open(path, os.O_RDWR)
    with open(path, "rb", 0) as reading:
        transport, protocol = connect_read(loop, reading)
        os.write(both, b"x")
        run(protocol.until_data(1))
        os.close(both)
        run(protocol.lost)
        spin(loop)


def test_sockets_may_be_pipes(loop, run):
    ours, peer = socket.socketpair()
    writing, writer = connect_write(loop, ours)
    reading, reader = connect_read(loop, peer)
    writing.write(b"x")
    run(reader.until_data(1))
    writing.close()
    run(asyncio.gather(writer.lost, reader.lost))
    spin(loop)


def test_streams_over_pipes(loop, pipe, run):
    reading, writing = pipe

    async def main():
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), reading
        )
        os.write(writing.fileno(), b"line\nrest")
        assert await reader.readline() == b"line\n"
        writing.close()
        assert await reader.read() == b"rest"
        transport.close()
        await asyncio.sleep(0)

    run(main())
    spin(loop)


def test_set_protocol(loop, pipe, run):
    async def new_recorder():
        return Recorder()

    reading, writing = pipe
    transport, first = connect_read(loop, reading)
    second = run(new_recorder())
    transport.set_protocol(second)
    assert transport.get_protocol() is second
    os.write(writing.fileno(), b"x")
    run(second.until_data(1))
    transport.close()
    run(second.lost)
    spin(loop)
    assert first.calls == ["connection_made"]
