"""Pipe transports at the edges: terminals, shared files, errors of the protocol, bad arguments."""

import asyncio
import contextvars
import errno
import gc
import io
import logging
import os
import pty
import socket
import termios
import tty
import weakref

import pytest
from support import Recorder, eventually, hooked, raising, spin


@pytest.fixture
def pipe():
    read_end, write_end = os.pipe()
    with open(read_end, "rb", 0) as reading, open(write_end, "wb", 0) as writing:
        yield reading, writing


@pytest.fixture
def terminal():
    """Both sides of a pseudo-terminal in raw mode, as numbers."""
    master, slave = pty.openpty()
    tty.setraw(slave, termios.TCSANOW)
    yield master, slave
    for fd in (master, slave):
        try:
            os.close(fd)
        except OSError:
            pass


def connect_read(loop, reading, factory=Recorder):
    return loop.run_until_complete(loop.connect_read_pipe(factory, reading))


def connect_write(loop, writing, factory=Recorder):
    return loop.run_until_complete(loop.connect_write_pipe(factory, writing))


def end(loop, *connections):
    """Close transports and wait until their protocols know."""
    for transport, _ in connections:
        transport.close()
    lost = [protocol.lost for _, protocol in connections]
    loop.run_until_complete(asyncio.gather(*lost))
    spin(loop)


# ── what a transport is ──────────────────────────────────────────────────────────────────────


def test_the_kinds_of_transport(loop, pipe):
    reading, writing = connections = (connect_read(loop, pipe[0]), connect_write(loop, pipe[1]))
    assert isinstance(reading[0], asyncio.ReadTransport)
    assert not isinstance(reading[0], asyncio.WriteTransport)
    assert not hasattr(reading[0], "write")
    assert isinstance(writing[0], asyncio.WriteTransport)
    for transport, protocol in connections:
        assert not isinstance(transport, asyncio.DatagramTransport)
        assert transport.get_protocol() is protocol
        assert transport.get_extra_info("nothing", 5) == 5
        transport.mine = 1
        assert transport.__dict__["mine"] == 1
        assert weakref.ref(transport)() is transport
    end(loop, *connections)


def test_descriptors_become_non_blocking(loop, pipe):
    connections = connect_read(loop, pipe[0]), connect_write(loop, pipe[1])
    assert not any(os.get_blocking(file.fileno()) for file in pipe)
    end(loop, *connections)


def test_reprs(loop, pipe):
    (reading, _), (writing, _) = connections = (
        connect_read(loop, pipe[0]),
        connect_write(loop, pipe[1]),
    )
    fd = pipe[1].fileno()
    assert repr(reading).endswith(f" fd={pipe[0].fileno()} polling>")
    assert repr(writing).endswith(f" fd={fd} idle bufsize=0>")
    writing.write(bytes(1 << 20))
    assert f" fd={fd} polling bufsize=" in repr(writing)
    reading.pause_reading()
    assert repr(reading).endswith(" idle>")
    writing.abort()
    assert f" closing fd={fd}" in repr(writing)
    end(loop, *connections)
    assert " closed " in repr(reading) and " closed " in repr(writing)


def test_nothing_is_called_inside_the_call_that_ends_it(loop, pipe, run):
    transport, protocol = connect_write(loop, pipe[1])
    for end_it in (transport.write_eof, transport.close):
        end_it()
        assert protocol.calls == ["connection_made"]
    run(protocol.lost)
    spin(loop)
    assert protocol.calls == ["connection_made", "connection_lost"]


@pytest.mark.asyncio_wrong("connection_lost is called twice, the second time of None")
def test_abort_after_the_end_does_nothing(loop, pipe, run):
    transport, protocol = connect_write(loop, pipe[1])
    transport.close()
    transport.abort()
    run(protocol.lost)
    spin(loop)
    transport.abort()
    spin(loop)
    assert protocol.calls.count("connection_lost") == 1


def test_writing_after_close_is_dropped(loop, pipe, run):
    transport, protocol = connect_write(loop, pipe[1])
    transport.write(b"before")
    transport.close()
    transport.write(b"after")
    run(protocol.lost)
    spin(loop)
    assert pipe[0].read() == b"before"


def test_water_marks(loop, pipe, run):
    transport, writer = connection = connect_write(loop, pipe[1])
    transport.set_write_buffer_limits(high=0)
    assert transport.get_write_buffer_limits() == (0, 0)
    transport.write(bytes(1 << 20))
    assert writer.calls[-1] == "pause_writing"
    with pytest.raises(ValueError):
        transport.set_write_buffer_limits(high=1, low=2)
    reader = connect_read(loop, pipe[0])
    run(writer.until_called("resume_writing"))
    assert transport.get_write_buffer_size() == 0
    end(loop, connection, reader)


def test_a_pause_in_data_received_holds(loop, pipe, run):
    def pause(data):
        transport.pause_reading()

    transport, protocol = connection = connect_read(loop, pipe[0], hooked(data_received=pause))
    os.write(pipe[1].fileno(), b"x" * 60000)
    run(protocol.until_data(1))
    os.write(pipe[1].fileno(), b"y")
    spin(loop)
    assert protocol.calls.count("data_received") == 1
    transport.resume_reading()
    run(protocol.until_data(60001))
    end(loop, connection)


def test_callbacks_run_in_the_context_of_the_call(loop, pipe, run):
    var = contextvars.ContextVar("var", default="none")
    seen = []

    def note(*args):
        seen.append(var.get())

    def connect():
        return connect_read(loop, pipe[0], hooked(data_received=note, eof_received=note))

    def set_and_connect():
        var.set("mine")
        return connect()

    _, protocol = contextvars.copy_context().run(set_and_connect)
    os.write(pipe[1].fileno(), b"x")
    run(protocol.until_data(1))
    pipe[1].close()
    run(protocol.lost)
    spin(loop)
    assert seen == ["mine", "mine"]


# ── errors of the protocol ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["connection_made", "eof_received", "connection_lost"])
def test_a_failing_callback_is_reported_and_the_pipe_closed(loop, pipe, run, errors, name):
    _, protocol = connect_read(loop, pipe[0], hooked(**{name: raising()}))
    os.write(pipe[1].fileno(), b"x")
    pipe[1].close()
    run(protocol.until_called("connection_lost"))
    spin(loop)
    errors.take_one()
    assert pipe[0].closed and protocol.data == b"x"


def test_a_failing_data_received_ends_nothing(loop, pipe, run, errors):
    _, protocol = connection = connect_read(loop, pipe[0], hooked(data_received=raising()))
    for turn in range(2):
        os.write(pipe[1].fileno(), b"x")
        run(protocol.until_data(turn + 1))
        spin(loop)
        errors.take_one()
    end(loop, connection)


def test_failing_flow_control_is_reported(loop, pipe, errors):
    transport, _ = connection = connect_write(loop, pipe[1], hooked(pause_writing=raising()))
    transport.write(bytes(1 << 20))
    errors.take_one()
    transport.abort()
    end(loop, connection)


# ── terminals ────────────────────────────────────────────────────────────────────────────────


def test_a_terminal_in_both_directions_at_one_number(loop, terminal, run):
    master, slave = terminal
    reading = connect_read(loop, io.FileIO(master, "rb", closefd=False))
    writing = connect_write(loop, io.FileIO(master, "wb", closefd=False))
    os.write(slave, b"up")
    run(reading[1].until_data(2))
    writing[0].write(b"down")
    assert os.read(slave, 100) == b"down"
    os.write(slave, b"again")
    run(reading[1].until_data(7))
    end(loop, reading, writing)


@pytest.mark.oxloop_only
def test_the_end_of_one_direction_of_a_terminal_leaves_the_other(loop, terminal, run):
    """asyncio's write pipe takes the reader of its number away when it closes."""
    master, slave = terminal
    reading = connect_read(loop, io.FileIO(master, "rb", closefd=False))
    writing = connect_write(loop, io.FileIO(master, "wb", closefd=False))
    end(loop, writing)
    os.write(slave, b"still")
    run(reading[1].until_data(5))
    end(loop, reading)


def test_a_terminal_may_be_watched_beside_its_transport(loop, terminal, run):
    master, slave = terminal
    _, protocol = writing = connect_write(loop, io.FileIO(master, "wb", closefd=False))
    came = loop.create_future()
    loop.add_reader(master, lambda: came.done() or came.set_result(os.read(master, 100)))
    os.write(slave, b"up")
    assert run(came) == b"up"
    assert loop.remove_reader(master)
    assert protocol.calls == ["connection_made"]
    end(loop, writing)


def test_a_terminal_that_hangs_up(loop, terminal, run, errors):
    master, slave = terminal
    _, protocol = connect_read(loop, io.FileIO(master, "rb", closefd=False))
    os.write(slave, b"bye")
    run(protocol.until_data(3))
    os.close(slave)
    run(protocol.lost)
    spin(loop)
    assert protocol.lost_with.errno == errno.EIO
    assert protocol.calls == ["connection_made", "data_received", "connection_lost"]


def test_the_null_device_takes_everything(loop, run):
    with open(os.devnull, "wb", 0) as null:
        transport, protocol = connection = connect_write(loop, null)
        transport.write(bytes(1 << 20))
        spin(loop)
        assert transport.get_write_buffer_size() == 0
        end(loop, connection)


# ── files that others write to, too ──────────────────────────────────────────────────────────


def test_order_among_the_writers_of_a_named_pipe(loop, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    both = os.open(path, os.O_RDWR)
    other = os.open(path, os.O_WRONLY)
    with open(path, "wb", 0) as writing:

        async def main():
            transport, protocol = await loop.connect_write_pipe(Recorder, writing)
            for text in (b"a", b"c", b"e"):
                transport.write(text)
                os.write(other, bytes([text[0] + 1]))
            assert os.read(both, 100) == b"abcdef"
            transport.close()
            await protocol.lost
            await asyncio.sleep(0)

        loop.run_until_complete(main())
    os.close(other)
    os.close(both)


def test_between_two_runs_a_write_leaves_at_once(loop, pipe):
    transport, _ = connection = connect_write(loop, pipe[1])
    transport.write(b"x")
    assert pipe[0].read(1) == b"x"
    end(loop, connection)


def test_a_socket_whose_peer_speaks_counts_as_closed(loop, run):
    """asyncio watches the writing end for readability, whatever the reason."""
    ours, peer = socket.socketpair()
    with ours, peer:
        _, protocol = connect_write(loop, ours)
        peer.send(b"x")
        run(protocol.lost)
        spin(loop)
        assert protocol.lost_with is None


def test_a_socket_pair_whose_peer_closes(loop, run):
    ours, peer = socket.socketpair()
    with ours:
        transport, protocol = connect_write(loop, ours)
        transport.write(bytes(1 << 20))
        peer.close()
        run(protocol.lost)
        spin(loop)
        assert isinstance(protocol.lost_with, OSError)


@pytest.mark.asyncio_wrong("the selector is asked to change what is gone", strict=False)
def test_a_number_that_was_left_watched(loop, pipe, run):
    class Watcher:
        def __call__(self):
            raise AssertionError("the file it watched is closed")

    watcher = Watcher()
    alive = weakref.ref(watcher)
    ours, peer = socket.socketpair()
    number = ours.fileno()
    loop.add_reader(ours, watcher)
    loop.add_writer(ours, watcher)
    ours.close()
    peer.close()
    again = os.fdopen(os.dup2(pipe[0].fileno(), number, inheritable=False), "rb", 0)
    connection = connect_read(loop, again)
    del watcher
    gc.collect()
    assert alive() is None
    os.write(pipe[1].fileno(), b"heard")
    run(connection[1].until_data(5))
    end(loop, connection)


# ── bad arguments ────────────────────────────────────────────────────────────────────────────


class NoDescriptor:
    def fileno(self):
        return -1


def bad_pipes(tmp_path):
    closed = io.FileIO(os.devnull)
    closed.close()
    regular = io.FileIO(tmp_path / "regular", "w+")
    gone = io.FileIO(os.dup2(regular.fileno(), 900), closefd=False)
    os.close(gone.fileno())
    return {
        "no fileno": (object(), AttributeError),
        "a number": (1, AttributeError),
        "None": (None, AttributeError),
        "closed": (closed, ValueError),
        "regular": (regular, ValueError),
        "closed behind": (gone, OSError),
    }


@pytest.mark.asyncio_wrong("the finalizer of a half-made transport fails", strict=False)
@pytest.mark.parametrize("method", ["connect_read_pipe", "connect_write_pipe"])
def test_what_is_no_pipe_is_refused_at_the_call(loop, run, tmp_path, method):
    for name, (bad, error) in bad_pipes(tmp_path).items():
        made = []

        def factory(made=made):
            made.append(Recorder())
            return made[0]

        with pytest.raises(error):
            run(getattr(loop, method)(factory, bad))
        spin(loop)
        assert made[0].calls == [], name
        if name == "regular":
            assert not bad.closed
            bad.close()


@pytest.mark.asyncio_wrong("the half-made transport closes the pipe")
@pytest.mark.parametrize("method", ["connect_read_pipe", "connect_write_pipe"])
def test_a_closed_loop_refuses(loop, pipe, method):
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        getattr(loop, method)(asyncio.Protocol, pipe[0]).send(None)
    assert not pipe[0].closed


@pytest.mark.parametrize("bad", ["text", 5, None, [b"x"]])
def test_what_is_not_bytes_is_refused(loop, pipe, bad):
    transport, _ = connection = connect_write(loop, pipe[1])
    with pytest.raises(AssertionError):
        transport.write(bad)
    end(loop, connection)


def test_a_factory_that_fails(loop, run, pipe):
    for connect in (loop.connect_read_pipe, loop.connect_write_pipe):
        with pytest.raises(ZeroDivisionError):
            run(connect(lambda: 1 // 0, pipe[0]))
    assert not pipe[0].closed


def test_cancelled_while_connecting(loop, run, pipe):
    async def main():
        task = loop.create_task(loop.connect_read_pipe(Recorder, pipe[0]))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await eventually(lambda: pipe[0].closed)

    run(main())
    spin(loop)


# ── surroundings ─────────────────────────────────────────────────────────────────────────────


def test_unclosed_transports_warn(loop_factory, no_leaked_fds, pipe):
    loop = loop_factory()
    connections = connect_read(loop, pipe[0]), connect_write(loop, pipe[1])
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed transport") as warnings:
        del connections, loop
        gc.collect()
    assert len([one for one in warnings if "unclosed transport" in str(one.message)]) == 2
    assert all(file.closed for file in pipe)


def test_debug_messages(loop, pipe, run, caplog):
    caplog.set_level(logging.DEBUG, "asyncio")
    loop.set_debug(True)
    reading, writing = (connect_read(loop, pipe[0]), connect_write(loop, pipe[1]))
    reading[0].pause_reading()
    reading[0].resume_reading()
    reading[0].close()
    run(asyncio.gather(reading[1].lost, writing[1].lost))
    spin(loop)
    for text in ("pauses reading", "resumes reading", "was closed by peer"):
        assert text in caplog.text
