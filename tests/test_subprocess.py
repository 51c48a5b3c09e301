"""Subprocesses: pipes, exit codes, signals, arguments, nothing inherited, nothing lost."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest
from support import FULL, open_fds, spin

PIPE = asyncio.subprocess.PIPE
CHILDREN = 500 if FULL else 60


def python(source, **options):
    return asyncio.create_subprocess_exec(sys.executable, "-S", "-c", source, **options)


def sh(command, **options):
    return asyncio.create_subprocess_shell(command, **options)


async def output(creating):
    process = await creating
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out


# ── streams ──────────────────────────────────────────────────────────────────────────────────


def test_communicate(loop, run):
    async def main():
        process = await sh("cat; echo oops >&2; exit 3", stdin=PIPE, stdout=PIPE, stderr=PIPE)
        assert process.pid > 0 and process.returncode is None
        assert await process.communicate(b"hello") == (b"hello", b"oops\n")
        assert process.returncode == 3
        assert await process.wait() == 3

    run(main())


def test_big_data_both_ways(loop, run):
    data = os.urandom(1 << 20)

    async def main():
        process = await sh("cat", stdin=PIPE, stdout=PIPE)
        out, _ = await process.communicate(data)
        assert out == data

    run(main())


def test_talking_line_by_line(loop, run):
    async def main():
        process = await sh("while read x; do echo got $x; done", stdin=PIPE, stdout=PIPE)
        for word in (b"one", b"two"):
            process.stdin.write(word + b"\n")
            await process.stdin.drain()
            assert await process.stdout.readline() == b"got " + word + b"\n"
        process.stdin.close()
        assert await process.stdout.read() == b""
        assert await process.wait() == 0

    run(main())


def test_a_child_that_does_not_read(loop, run):
    async def main():
        process = await sh("exit 0", stdin=PIPE)
        process.stdin.write(bytes(1 << 20))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await drain_for_ever(process.stdin)
        assert await process.wait() == 0

    run(main())


async def drain_for_ever(writer):
    while True:
        await writer.drain()
        await asyncio.sleep(0.001)


def test_redirections(loop, run, tmp_path):
    async def main():
        process = await sh("echo out; echo err >&2", stdout=PIPE, stderr=asyncio.subprocess.STDOUT)
        assert (await process.communicate())[0] == b"out\nerr\n"
        process = await sh("echo gone", stdout=asyncio.subprocess.DEVNULL)
        assert process.stdout is None and await process.wait() == 0
        with open(tmp_path / "file", "wb") as file:
            process = await sh("echo kept", stdout=file)
            await process.wait()
        assert (tmp_path / "file").read_bytes() == b"kept\n"

    run(main())


# ── ends ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_codes(loop, run, code):
    async def main():
        return await (await sh(f"exit {code}")).wait()

    assert run(main()) == code


@pytest.mark.parametrize("method", ["terminate", "kill"])
def test_ending_a_child(loop, run, method):
    async def main():
        process = await sh("exec sleep 3600")
        getattr(process, method)()
        return await process.wait()

    expected = {"terminate": -signal.SIGTERM, "kill": -signal.SIGKILL}[method]
    assert run(main()) == expected


def test_send_signal(loop, run):
    async def main():
        process = await sh(
            "trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done", stdout=PIPE
        )
        await process.stdout.readline()
        process.send_signal(signal.SIGUSR1)
        return (await process.communicate())[0], process.returncode

    assert run(main()) == (b"", 7)


def test_signals_after_the_end_are_refused(loop, run):
    async def main():
        process = await sh("exit 0")
        await process.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        for method in (process.kill, process.terminate, lambda: process.send_signal(0)):
            with pytest.raises(ProcessLookupError):
                method()

    run(main())


def test_several_may_wait(loop, run):
    async def main():
        process = await sh("read x", stdin=PIPE)
        waiting = [loop.create_task(process.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        process.stdin.close()
        return await asyncio.gather(*waiting[1:])

    assert run(main()) == [1, 1]


def test_many_short_children_at_once(loop, run):
    async def one(number):
        return await (await sh(f"exit {number % 200}")).wait()

    async def main():
        return await asyncio.gather(*(one(number) for number in range(CHILDREN)))

    assert run(main()) == [number % 200 for number in range(CHILDREN)]


def test_a_cancelled_wait_leaves_the_child(loop, run):
    async def main():
        process = await sh("read x", stdin=PIPE)
        task = loop.create_task(process.wait())
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert process.returncode is None
        process.stdin.close()
        assert await process.wait() == 1

    run(main())


# ── arguments ────────────────────────────────────────────────────────────────────────────────


def test_arguments_of_several_kinds(loop, run, tmp_path):
    async def main():
        for program in ("printf", b"/usr/bin/printf"):
            arguments = (program, "%s.", "text", b"bytes", tmp_path)
            process = await asyncio.create_subprocess_exec(*arguments, stdout=PIPE)
            out, _ = await process.communicate()
            assert out == b"text.bytes." + os.fsencode(tmp_path) + b"."

    run(main())


def test_cwd_and_env(loop, run, tmp_path):
    async def main():
        out = await output(sh("pwd; echo $MINE", stdout=PIPE, cwd=tmp_path, env={"MINE": "yes"}))
        assert out == os.fsencode(os.path.realpath(tmp_path)) + b"\nyes\n"

    run(main())


def test_umask_and_process_group(loop, run):
    async def main():
        assert await output(sh("umask", stdout=PIPE, umask=0o077)) == b"0077\n"
        source = "import os; print(os.getpid() == os.getpgrp() == os.getsid(0))"
        assert await output(python(source, stdout=PIPE, start_new_session=True)) == b"True\n"
        source = "import os; print(os.getpid() == os.getpgrp())"
        assert await output(python(source, stdout=PIPE, process_group=0)) == b"True\n"

    run(main())


def test_preexec_fn(loop, run, tmp_path):
    async def main():
        assert await output(sh("pwd", stdout=PIPE, preexec_fn=lambda: os.chdir("/"))) == b"/\n"

    run(main())


LIST_DESCRIPTORS = "import os; print(*sorted(set(map(int, os.listdir('/dev/fd'))) - {3}))"


def test_nothing_is_inherited(loop, run):
    async def main():
        return await output(python(LIST_DESCRIPTORS, stdout=PIPE))

    assert run(main()) == b"0 1 2\n"


def test_nothing_of_the_loop_is_inherited_without_close_fds(loop, run):
    before = set(open_fds())

    async def main():
        source = "import os; print(*os.listdir('/dev/fd'))"
        return await output(python(source, stdout=PIPE, close_fds=False))

    inherited = set(map(int, run(main()).split()))
    allowed = {fd for fd in before if os.get_inheritable(fd)} | {0, 1, 2}
    assert len(inherited - allowed) <= 1, "more than the listing's own descriptor"


def test_pass_fds(loop, run):
    read_end, write_end = os.pipe()

    async def main():
        source = f"import os; os.write({write_end}, b'passed')"
        await output(python(source, stdout=PIPE, pass_fds=[write_end]))

    run(main())
    assert os.read(read_end, 10) == b"passed"
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize(
    "options",
    [
        {"universal_newlines": True},
        {"bufsize": 1},
        {"encoding": "utf-8"},
        {"text": True},
    ],
)
def test_text_modes_are_refused(loop, run, options):
    with pytest.raises(ValueError):
        run(loop.subprocess_exec(asyncio.SubprocessProtocol, "true", **options))
    with pytest.raises(ValueError):
        run(loop.subprocess_shell(asyncio.SubprocessProtocol, "true", **options))


def test_a_shell_command_must_be_text(loop, run):
    with pytest.raises(ValueError):
        run(loop.subprocess_shell(asyncio.SubprocessProtocol, ["true"]))
    with pytest.raises(ValueError):
        run(loop.subprocess_exec(asyncio.SubprocessProtocol, "true", shell=True))
    with pytest.raises(TypeError):
        run(loop.subprocess_exec(asyncio.SubprocessProtocol, 5))


def test_a_missing_program(loop, run, tmp_path):
    with pytest.raises(FileNotFoundError):
        run(asyncio_exec(tmp_path / "missing"))
    (tmp_path / "file").write_text("not a program")
    with pytest.raises(PermissionError):
        run(asyncio_exec(tmp_path / "file"))


async def asyncio_exec(*args):
    return await asyncio.create_subprocess_exec(*args, stdin=PIPE, stdout=PIPE)


# ── the protocol ─────────────────────────────────────────────────────────────────────────────


class Watching(asyncio.SubprocessProtocol):
    def __init__(self):
        self.calls = []
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.calls.append("connection_made")

    def pipe_data_received(self, fd, data):
        self.calls.append((fd, data))

    def pipe_connection_lost(self, fd, exc):
        self.calls.append((fd, exc))

    def process_exited(self):
        self.calls.append("process_exited")

    def connection_lost(self, exc):
        self.calls.append("connection_lost")
        self.lost.set_result(exc)


def test_the_protocols_callbacks(loop, run):
    async def main():
        transport, protocol = await loop.subprocess_shell(
            Watching, "echo out; read x; exit 3", stderr=None
        )
        assert isinstance(transport, asyncio.SubprocessTransport)
        assert transport.get_pid() > 0 and transport.get_returncode() is None
        assert transport.get_extra_info("subprocess").pid == transport.get_pid()
        assert transport.get_pipe_transport(1).is_reading()
        transport.get_pipe_transport(0).write(b"\n")
        assert await protocol.lost is None
        assert transport.get_returncode() == 3
        transport.close()
        return protocol.calls

    calls = run(main())
    spin(loop)
    assert calls[0] == "connection_made" and calls[-1] == "connection_lost"
    assert {(1, b"out\n"), (0, None), (1, None), "process_exited"} <= set(calls)
    assert len(calls) == 6


def test_close_kills_the_child(loop, run):
    async def main():
        transport, protocol = await loop.subprocess_shell(Watching, "exec sleep 3600")
        transport.close()
        await protocol.lost
        return transport.get_returncode()

    assert run(main()) == -signal.SIGKILL
    spin(loop)


# ── the surroundings ─────────────────────────────────────────────────────────────────────────


def test_sigchld_is_left_to_the_program(loop, run):
    async def main():
        await (await sh("exit 0")).wait()

    before = signal.getsignal(signal.SIGCHLD)
    run(main())
    assert signal.getsignal(signal.SIGCHLD) is before


def test_children_of_others_are_left_alone(loop, run):
    own = subprocess.Popen(["/bin/sh", "-c", "exit 5"])

    async def main():
        assert await (await sh("exit 6")).wait() == 6

    run(main())
    assert own.wait() == 5


def test_from_a_loop_in_another_thread(loop_factory, no_leaked_fds):
    results = []

    def work():
        loop = loop_factory()

        async def main():
            return await output(sh("echo hello", stdout=PIPE))

        results.append(loop.run_until_complete(main()))
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [b"hello\n"]


@pytest.mark.asyncio_wrong("a thread waits for each", until=(3, 12))
def test_no_thread_waits_for_children_where_the_kernel_tells(loop, run):
    before = threading.active_count()

    async def main():
        process = await sh("read x", stdin=PIPE)
        during = threading.active_count()
        process.stdin.close()
        await process.wait()
        return during

    assert run(main()) == before
