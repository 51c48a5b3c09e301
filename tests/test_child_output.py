"""What children write, piece by piece: its order, who may step in, asyncio.subprocess' readers."""

import asyncio
import contextvars
import subprocess
import sys
from asyncio import base_subprocess

import pytest
from support import Boom, Noting, eventually

PIPE = asyncio.subprocess.PIPE


class Talk(Noting, asyncio.SubprocessProtocol):
    """Notes every callback, and keeps what the child wrote."""

    def __init__(self, **hooks):
        super().__init__(**hooks)
        self.output = {1: bytearray(), 2: bytearray()}
        self.ended = asyncio.get_running_loop().create_future()

    def pipe_data_received(self, fd, data):
        assert type(data) is bytes
        self.output[fd] += data
        self.note("pipe_data_received", fd, data)

    def pipe_connection_lost(self, fd, exc):
        self.note(f"pipe_connection_lost {fd}")

    def process_exited(self):
        self.note("process_exited")

    def connection_lost(self, exc):
        self.note("connection_lost")
        self.ended.set_result(None)


def python(source):
    return sys.executable, "-S", "-c", source


@pytest.fixture
def talk(loop, run):
    """Start a Python script: `transport, protocol = talk(source)`."""
    made = []

    def talk(source, stdin=None, stderr=PIPE, **hooks):
        starting = loop.subprocess_exec(
            lambda: Talk(**hooks), *python(source), stdin=stdin, stderr=stderr
        )
        transport, protocol = run(starting)
        made.append(transport)
        return transport, protocol

    yield talk
    for transport in made:
        transport.close()
        run(eventually(lambda transport=transport: transport.get_protocol() is None))


ECHO = "import sys\nfor line in sys.stdin.buffer: sys.stdout.buffer.write(line); sys.stdout.flush()"


def test_order(talk, run):
    source = "import os; os.write(1, b'x' * 300_000); os.write(2, b'y' * 100_000)"
    _, protocol = talk(source)
    run(protocol.ended)
    assert protocol.output == {1: b"x" * 300_000, 2: b"y" * 100_000}
    calls = [call for call in protocol.calls if call != "process_exited"]
    assert calls[0] == "connection_made" and calls[-1] == "connection_lost"
    assert calls.index("pipe_connection_lost 1") > 1
    last = max(i for i, call in enumerate(calls) if call == "pipe_data_received")
    assert last < max(calls.index(f"pipe_connection_lost {fd}") for fd in (1, 2))


def test_a_piece_is_told_of_in_the_turn_after_it_was_read(loop, talk, run):
    """As asyncio does it: what the pipe's own protocol schedules then comes first."""
    order = []
    transport, protocol = talk(ECHO, PIPE, pipe_data_received=lambda fd, data: order.append("told"))
    pipe = transport.get_pipe_transport(1)
    received = pipe.get_protocol().data_received

    def data_received(data):
        order.append("read")
        received(data)

    pipe.get_protocol().data_received = data_received
    transport.get_pipe_transport(0).write(b"line\n")
    run(eventually(lambda: "told" in order))
    assert order == ["read", "told"]
    del pipe.get_protocol().data_received
    transport.get_pipe_transport(0).write(b"more\n")
    run(eventually(lambda: len(order) == 3))
    assert order == ["read", "told", "told"]
    assert protocol.output[1] == b"line\nmore\n"


@pytest.mark.parametrize(
    "owner, name",
    [
        (base_subprocess.ReadSubprocessPipeProto, "data_received"),
        (base_subprocess.BaseSubprocessTransport, "_pipe_data_received"),
        (base_subprocess.BaseSubprocessTransport, "_call"),
    ],
)
def test_methods_that_somebody_replaces_are_called(talk, run, monkeypatch, owner, name):
    seen = []
    original = getattr(owner, name)

    def replaced(self, *args):
        seen.append(args)
        return original(self, *args)

    transport, protocol = talk(ECHO, PIPE)
    transport.get_pipe_transport(0).write(b"before\n")
    run(eventually(lambda: protocol.output[1] == b"before\n"))
    monkeypatch.setattr(owner, name, replaced)
    transport.get_pipe_transport(0).write(b"between\n")
    run(eventually(lambda: protocol.output[1].endswith(b"between\n")))
    assert seen and seen[-1][-1] == b"between\n"
    monkeypatch.undo()
    seen.clear()
    transport.get_pipe_transport(0).write(b"after\n")
    run(eventually(lambda: protocol.output[1].endswith(b"after\n")))
    assert not seen


@pytest.mark.parametrize("name", ["_pipe_data_received", "_call"])
def test_methods_that_are_assigned_to_the_transport_are_called(talk, run, name):
    seen = []
    transport, protocol = talk(ECHO, PIPE)
    original = getattr(transport, name)

    def replaced(*args):
        seen.append(args)
        original(*args)

    setattr(transport, name, replaced)
    transport.get_pipe_transport(0).write(b"line\n")
    run(eventually(lambda: protocol.output[1] == b"line\n"))
    assert seen[-1][-1] == b"line\n"


def test_a_call_soon_of_somebody_else_sees_every_piece(loop_class, run_on):
    seen = []

    class Loop(loop_class):
        def call_soon(self, callback, *args, context=None):
            seen.append(args)
            return super().call_soon(callback, *args, context=context)

    async def main(loop):
        transport, protocol = await loop.subprocess_exec(
            Talk, *python("import os; os.write(1, b'hi\\n')"), stdin=None
        )
        await protocol.ended
        return protocol

    assert run_on(Loop(), main).output[1] == b"hi\n"
    assert (1, b"hi\n") in seen


@pytest.fixture
def run_on():
    """Run `main(loop)` on a loop that is closed afterwards."""

    def run_on(loop, main):
        try:
            return loop.run_until_complete(main(loop))
        finally:
            loop.close()

    return run_on


def test_debug_mode(loop, talk, run):
    loop.set_debug(True)
    _, protocol = talk("print('x' * 200_000)")
    run(protocol.ended)
    assert len(protocol.output[1]) == 200_001


def test_another_protocol_gets_what_comes_from_then_on(talk, run):
    transport, protocol = talk(ECHO, PIPE)
    transport.get_pipe_transport(0).write(b"one\n")
    run(eventually(lambda: protocol.output[1] == b"one\n"))

    async def other():
        return Talk()

    other = run(other())
    transport.set_protocol(other)
    transport.get_pipe_transport(0).write(b"two\n")
    run(eventually(lambda: other.output[1] == b"two\n"))
    assert protocol.output[1] == b"one\n"


def test_an_error_of_the_protocol_is_reported_and_no_more(talk, run, errors):
    def fail(fd, data):
        protocol.hooks.clear()
        raise Boom("on purpose")

    transport, protocol = talk(ECHO, PIPE, pipe_data_received=fail)
    transport.get_pipe_transport(0).write(b"one\n")
    run(eventually(lambda: protocol.output[1] == b"one\n"))
    errors.take_one()
    transport.get_pipe_transport(0).write(b"two\n")
    run(eventually(lambda: protocol.output[1] == b"one\ntwo\n"))


def test_each_piece_has_a_context_of_its_own(talk, run):
    var = contextvars.ContextVar("var", default="unset")
    seen = []

    def look(fd, data):
        seen.append(var.get())
        var.set("set")

    transport, protocol = talk(ECHO, PIPE, pipe_data_received=look)
    for number in range(1, 4):
        transport.get_pipe_transport(0).write(b"line\n")
        run(eventually(lambda number=number: len(seen) == number))
    assert seen == ["unset"] * 3


def test_paused_pipes(talk, run):
    transport, protocol = talk(ECHO, PIPE)
    pipe = transport.get_pipe_transport(1)
    pipe.pause_reading()
    transport.get_pipe_transport(0).write(b"line\n")
    run(asyncio.sleep(0.05))
    assert protocol.output[1] == b""
    pipe.resume_reading()
    run(eventually(lambda: protocol.output[1] == b"line\n"))


# -- asyncio.subprocess ----------------------------------------------------------------------


async def start(source, **options):
    options = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE, **options}
    return await asyncio.create_subprocess_exec(*python(source), **options)


def test_lines_of_a_process(run):
    async def main():
        process = await start(ECHO)
        for number in range(100):
            process.stdin.write(b"%d\n" % number)
            assert await process.stdout.readline() == b"%d\n" % number
        process.stdin.close()
        assert await process.stdout.read() == b""
        assert process.stdout.at_eof()
        assert await process.wait() == 0

    run(main())


def test_much_output_of_both_pipes(run):
    async def main():
        source = (
            "import os, threading\n"
            "def put(fd):\n"
            "    f = os.fdopen(fd, 'wb'); f.write(bytes(range(256)) * 8000); f.close()\n"
            "threads = [threading.Thread(target=put, args=(fd,)) for fd in (1, 2)]\n"
            "[t.start() for t in threads]; [t.join() for t in threads]\n"
        )
        process = await start(source, stdin=None)
        return await process.communicate()

    assert run(main()) == (bytes(range(256)) * 8000,) * 2


def test_a_reader_that_has_enough_pauses_the_pipe(run):
    async def main():
        process = await start("print('x' * 1_000_000, end='')", stdin=None, limit=1000)
        pipe = process._transport.get_pipe_transport(1)
        await eventually(lambda: process.stdout._paused)
        assert not pipe.is_reading()
        assert len(process.stdout._buffer) < 1_000_000
        assert await process.stdout.readexactly(1_000_000) == b"x" * 1_000_000
        assert await process.stdout.read() == b""
        await process.wait()

    run(main())


def test_a_line_that_is_too_long(run):
    async def main():
        process = await start("print('x' * 5000)", stdin=None, limit=1000)
        with pytest.raises(ValueError):
            await process.stdout.readline()
        process._transport.close()
        await process.wait()

    run(main())


def test_feed_data_that_is_replaced_gets_every_piece(run):
    async def main():
        process = await start(ECHO)
        process.stdin.write(b"one\n")
        assert await process.stdout.readline() == b"one\n"
        seen, feed = [], process.stdout.feed_data

        def feed_data(data):
            seen.append(data)
            feed(data)

        process.stdout.feed_data = feed_data
        process.stdin.write(b"two\n")
        assert await process.stdout.readline() == b"two\n"
        assert seen == [b"two\n"]
        process.stdin.close()
        await process.wait()

    run(main())


def test_a_subclass_of_the_streams_protocol(loop, run):
    seen = []

    class Protocol(asyncio.subprocess.SubprocessStreamProtocol):
        def pipe_data_received(self, fd, data):
            seen.append((fd, data))
            super().pipe_data_received(fd, data)

    async def main():
        transport, protocol = await loop.subprocess_exec(
            lambda: Protocol(limit=2**16, loop=loop),
            *python("import os; os.write(1, b'hi\\n')"),
            stdin=None,
            stderr=None,
        )
        process = asyncio.subprocess.Process(transport, protocol, loop)
        assert await process.stdout.read() == b"hi\n"
        await process.wait()

    run(main())
    assert seen == [(1, b"hi\n")]


@pytest.mark.oxloop_only
def test_the_readers_of_a_process_become_native(run):
    async def main():
        process = await start(ECHO)
        assert type(process.stdout) is asyncio.StreamReader
        process.stdin.write(b"line\n")
        assert await process.stdout.readline() == b"line\n"
        assert isinstance(process.stdout, asyncio.StreamReader)
        assert type(process.stdout).__base__ is asyncio.StreamReader
        process.stdin.close()
        await process.wait()

    run(main())


def test_subprocess_is_not_waited_for_when_its_output_is_inherited(run):
    """A grandchild keeps the pipe: the process has ended, its output has not."""

    async def main():
        source = (
            "import subprocess, sys\n"
            "subprocess.Popen([sys.executable, '-S', '-c', 'import sys; sys.stdin.read();"
            ' print("late", flush=True)\'])\n'
        )
        process = await start(source, stderr=subprocess.DEVNULL)
        await eventually(lambda: process.returncode is not None)
        process.stdin.close()
        assert await process.stdout.read() == b"late\n"
        assert await process.wait() == 0

    run(main())
