"""Child processes: how their end is learnt of, whoever else has a hand in it; Popen's arguments."""

import asyncio
import contextlib
import contextvars
import fcntl
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from support import eventually, raising, since, spin, until

PIPE = asyncio.subprocess.PIPE
DEVNULL = asyncio.subprocess.DEVNULL


class Child(asyncio.SubprocessProtocol):
    """Writes down every callback; `hooks` run inside the callback of that name."""

    def __init__(self, **hooks):
        self.hooks = hooks
        self.calls = []
        self.lost = asyncio.get_running_loop().create_future()

    def note(self, name):
        self.calls.append(name)
        if name in self.hooks:
            self.hooks[name]()

    def connection_made(self, transport):
        self.note("connection_made")

    def process_exited(self):
        self.note("process_exited")

    def connection_lost(self, exc):
        if not self.lost.done():
            self.lost.set_result(exc)
        self.note("connection_lost")


def shell(loop, command, factory=Child, **options):
    plain = {"stdin": None, "stdout": None, "stderr": None}
    return loop.subprocess_shell(factory, command, **{**plain, **options})


def python(source, **options):
    return asyncio.create_subprocess_exec(sys.executable, "-S", "-c", source, **options)


async def output(creating):
    process = await creating
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out


def kill_unnoticed(transport):
    """Kill the child and wait until it is a zombie; the loop has no chance to notice."""
    os.kill(transport.get_pid(), signal.SIGUSR1)
    os.waitid(os.P_PID, transport.get_pid(), os.WEXITED | os.WNOWAIT)


# ── the end of a child ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code, expected", [("exit 7", 7), ("kill -TERM $$", -signal.SIGTERM)])
def test_the_order_of_the_callbacks(loop, run, code, expected):
    async def main():
        transport, protocol = await shell(loop, code)
        await protocol.lost
        assert protocol.calls == ["connection_made", "process_exited", "connection_lost"]
        assert transport.get_returncode() == expected
        transport.close()

    run(main())


def test_a_child_that_ends_before_anybody_looks(loop, run):
    async def main():
        creating = loop.create_task(shell(loop, "exit 3"))
        await asyncio.sleep(0)
        time.sleep(0.05)
        transport, protocol = await creating
        await protocol.lost
        assert transport.get_returncode() == 3
        transport.close()

    run(main())


@pytest.mark.asyncio_wrong("its watching thread may be first", until=(3, 12), strict=False)
def test_a_child_that_somebody_else_reaps(loop, run, caplog):
    async def main():
        transport, protocol = await shell(loop, "exec sleep 3600")
        kill_unnoticed(transport)
        os.waitpid(transport.get_pid(), 0)
        await protocol.lost
        assert transport.get_returncode() == 255
        transport.close()

    run(main())
    assert "255" in caplog.text


@pytest.fixture
def ignored_sigchld():
    """The system reaps: there are no zombies, and nobody learns how a child ended."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


def test_children_that_the_system_reaps(loop, run, caplog, ignored_sigchld):
    async def main():
        transport, protocol = await shell(loop, "exec sleep 3600")
        transport.kill()
        await protocol.lost
        assert transport.get_returncode() == 255
        transport.close()

    run(main())


@pytest.mark.asyncio_wrong("no such process", since=(3, 12), strict=False)
def test_a_child_that_is_gone_before_it_can_be_watched(loop, run, caplog, ignored_sigchld):
    async def main():
        transport, protocol = await shell(loop, "exit 3")
        await protocol.lost
        assert transport.get_returncode() == 255
        transport.close()

    run(main())


@pytest.mark.asyncio_wrong("its watcher finds no child and reports 255", strict=False)
def test_a_close_that_finds_the_child_dead_learns_how_it_ended(loop, run, caplog):
    async def main():
        transport, protocol = await shell(loop, "exec sleep 3600")
        kill_unnoticed(transport)
        transport.close()
        await protocol.lost
        assert transport.get_returncode() == -signal.SIGUSR1

    run(main())
    assert not caplog.records


@pytest.mark.asyncio_wrong("its watching thread may be first", until=(3, 12), strict=False)
def test_a_signal_to_a_dead_child_is_harmless(loop, run):
    async def main():
        transport, protocol = await shell(loop, "exec sleep 3600")
        kill_unnoticed(transport)
        transport.send_signal(signal.SIGTERM)
        await protocol.lost
        transport.close()

    run(main())


@pytest.mark.asyncio_wrong("its watching thread knows no context", until=(3, 12))
def test_the_end_is_told_in_the_context_of_the_beginning(loop, run):
    var = contextvars.ContextVar("var", default="none")
    seen = []

    async def main():
        var.set("mine")
        hooks = {"process_exited": lambda: seen.append(var.get())}
        transport, protocol = await shell(loop, "exit 0", lambda: Child(**hooks))
        var.set("changed")
        await protocol.lost
        transport.close()

    run(main())
    assert seen == ["mine"]


@pytest.mark.parametrize("name", ["connection_made", "process_exited", "connection_lost"])
def test_a_failing_callback_is_reported(loop, run, errors, name):
    async def main():
        transport, protocol = await shell(loop, "exit 0", lambda: Child(**{name: raising()}))
        await protocol.lost
        transport.close()

    run(main())
    spin(loop)
    errors.take_one()


def test_a_cancelled_start_kills_and_reaps(loop, run, monkeypatch):
    started = []

    class Noted(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self.pid)

    monkeypatch.setattr(subprocess, "Popen", Noted)

    async def main():
        creating = loop.create_task(shell(loop, "exec sleep 3600", stdin=PIPE, stdout=PIPE))
        await asyncio.sleep(0)
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating

    run(main())
    spin(loop)
    with pytest.raises(ChildProcessError):
        os.waitpid(started[0], os.WNOHANG)


def test_handlers_of_sigchld_are_called(loop, run):
    seen = []
    before = signal.signal(signal.SIGCHLD, lambda *args: seen.append(args))
    try:

        async def main():
            transport, protocol = await shell(loop, "exit 3")
            await protocol.lost
            await eventually(lambda: seen)
            assert transport.get_returncode() == 3
            transport.close()

        run(main())
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.asyncio_wrong("leaves the descriptor open", strict=False)
def test_a_closed_loop_lets_go_of_its_children(loop_factory, no_leaked_fds):
    loop = loop_factory()
    transport, _ = loop.run_until_complete(shell(loop, "exec sleep 3600"))
    pid = transport.get_pid()
    loop.close()
    transport._proc.kill()
    transport._proc.wait()
    transport.close()
    del transport
    gc.collect()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_many_children_that_end_at_the_same_moment(loop, run):
    read_end, write_end = os.pipe()

    async def main():
        children = [await shell(loop, f"read x; exit {n}", stdin=read_end) for n in range(50)]
        os.close(write_end)
        await asyncio.gather(*(protocol.lost for _, protocol in children))
        codes = [transport.get_returncode() for transport, _ in children]
        for transport, _ in children:
            transport.close()
        return codes

    assert run(main()) == list(range(50))
    os.close(read_end)


# ── without pidfds ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def refused(loop):
    def refuse(pid, transport):
        raise OSError("no pidfd on purpose")

    loop._watch_child = refuse
    return loop


@pytest.mark.oxloop_only
@pytest.mark.parametrize("code, expected", [("exit 7", 7), ("kill -TERM $$", -signal.SIGTERM)])
def test_a_thread_waits_where_pidfds_are_refused(refused, run, code, expected):
    test_the_order_of_the_callbacks(refused, run, code, expected)


@pytest.mark.oxloop_only
def test_a_thread_finds_a_child_that_somebody_else_reaps(refused, run, caplog):
    test_a_child_that_somebody_else_reaps(refused, run, caplog)


@pytest.mark.oxloop_only
def test_a_thread_that_finds_the_loop_closed_reaps(loop_factory, caplog, no_leaked_fds):
    loop = loop_factory()
    loop._watch_child = raising(OSError)
    transport, _ = loop.run_until_complete(shell(loop, "read x; exit 3", stdin=PIPE))
    (waiter,) = [one for one in threading.enumerate() if one.name.startswith("oxloop-waitpid")]
    pid, stdin = transport.get_pid(), transport._proc.stdin
    loop.close()
    stdin.close()
    waiter.join()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    assert f"handles pid {pid} is closed" in caplog.text
    transport._proc.returncode = 3
    with contextlib.suppress(RuntimeError):
        # Some releases close the pipes, for which they need an open loop.
        transport.close()
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        del transport, loop
        gc.collect()


@pytest.mark.oxloop_only
def test_without_a_thread_either_the_child_is_killed(refused, run, monkeypatch, errors):
    monkeypatch.setattr(threading.Thread, "start", raising(RuntimeError))
    with pytest.raises(RuntimeError, match="on purpose"):
        run(shell(refused, "exec sleep 3600"))
    spin(refused)


@pytest.mark.oxloop_only
def test_out_of_descriptors_for_the_pidfd(loop, run):
    """The child is there already when there is no descriptor left to watch it by."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    started = subprocess.Popen

    def start(*args, **options):
        popen = started(*args, **options)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        return popen

    async def main():
        subprocess.Popen = start
        try:
            creating = loop.create_task(shell(loop, "exit 5"))
            await asyncio.sleep(0)
        finally:
            subprocess.Popen = started
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        transport, protocol = await creating
        await protocol.lost
        assert transport.get_returncode() == 5
        transport.close()

    run(main())


@until(3, 14)
def test_no_child_watcher_is_asked_for(loop, run, loop_kind, monkeypatch):
    if loop_kind == "asyncio":
        pytest.skip("asyncio needs one")
    monkeypatch.setattr(asyncio.events, "get_child_watcher", raising())

    async def main():
        transport, protocol = await shell(loop, "exit 3")
        await protocol.lost
        assert transport.get_returncode() == 3
        transport.close()

    run(main())


@since(3, 14)
def test_a_watcher_that_was_given_to_the_loop_is_used(loop, run):
    loop._watcher = asyncio.unix_events._ThreadedChildWatcher()

    async def main():
        transport, protocol = await shell(loop, "read x", stdin=PIPE)
        assert any(one.name.startswith("asyncio-waitpid") for one in threading.enumerate())
        transport.get_pipe_transport(0).close()
        await protocol.lost
        transport.close()

    run(main())


# ── arguments ────────────────────────────────────────────────────────────────────────────────


def test_user_and_group(loop, run):
    source = "import os; print(os.getuid(), os.getgid())"
    uid, gid = os.getuid(), os.getgid()

    async def main():
        return await output(python(source, stdout=PIPE, user=uid, group=gid))

    assert run(main()).split() == [b"%d" % uid, b"%d" % gid]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")
def test_another_user(loop, run):
    source = "import os; print(os.getuid(), os.getgid(), os.getgroups())"

    async def main():
        options = {"user": 12345, "group": 23456, "extra_groups": [34567]}
        return await output(
            asyncio.create_subprocess_exec("/usr/bin/id", "-u", stdout=PIPE, **options)
        )

    assert run(main()) == b"12345\n", source


def test_the_size_of_the_pipes(loop, run):
    async def main():
        transport, protocol = await shell(loop, "read x", stdin=PIPE, stdout=PIPE, pipesize=16384)
        pipe = transport.get_pipe_transport(1).get_extra_info("pipe")
        assert fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) == 16384
        transport.get_pipe_transport(0).close()
        await protocol.lost
        transport.close()

    run(main())


@pytest.mark.parametrize("kind", ["number", "file", "socket"])
def test_standard_streams_of_the_programs_own(loop, run, kind):
    ours, theirs = socket.socketpair()
    given = {"number": theirs.fileno(), "file": theirs.makefile("rwb", 0), "socket": theirs}[kind]

    async def main():
        transport, protocol = await shell(loop, "cat", stdin=given, stdout=given)
        assert transport.get_pipe_transport(0) is None
        ours.send(b"through a socket")
        ours.shutdown(socket.SHUT_WR)
        await protocol.lost
        assert ours.recv(100) == b"through a socket"
        transport.close()

    with ours, theirs:
        run(main())
        if kind == "file":
            given.close()


def test_errors_to_the_output_and_nowhere(loop, run):
    async def main():
        both = asyncio.create_subprocess_shell(
            "echo err >&2; echo out", stdin=DEVNULL, stdout=PIPE, stderr=asyncio.subprocess.STDOUT
        )
        assert await output(both) == b"err\nout\n"
        silent = asyncio.create_subprocess_shell("echo err >&2", stdout=PIPE, stderr=DEVNULL)
        assert await output(silent) == b""

    run(main())


@pytest.mark.parametrize("command", ["echo $0", b"echo $0"])
def test_a_shell_command_may_be_bytes(loop, run, command):
    async def main():
        process = await asyncio.create_subprocess_shell(command, stdout=PIPE)
        assert (await process.communicate())[0].strip().endswith(b"sh")
        process = await asyncio.create_subprocess_shell(command, stdout=PIPE, executable="/bin/sh")
        assert (await process.communicate())[0].strip() == b"/bin/sh"

    run(main())


BAD_OPTIONS = {
    "preexec_fn": 5,
    "cwd": "/nowhere/at/all",
    "env": 5,
    "user": "no such user",
    "pass_fds": [-1],
    "stdin": "text",
    "unknown": 1,
    "umask": "text",
    "process_group": "text",
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options_are_popens_errors_and_leave_nothing(loop, run, name):
    options = {name: BAD_OPTIONS[name]}
    with pytest.raises(Exception) as expected:
        subprocess.Popen(["/bin/true"], **options)
    with pytest.raises(type(expected.value)):
        run(asyncio.create_subprocess_exec("/bin/true", **{"stdout": PIPE, **options}))
    spin(loop)
    gc.collect()


def test_a_factory_that_fails_starts_nothing(loop, run):
    with pytest.raises(ZeroDivisionError):
        run(loop.subprocess_exec(lambda: 1 // 0, "/bin/true"))


# ── surroundings ─────────────────────────────────────────────────────────────────────────────


def test_the_transport(loop, run):
    async def main():
        transport, protocol = await shell(loop, "read x; exit 3", stdin=PIPE)
        assert isinstance(transport, asyncio.SubprocessTransport)
        assert transport.get_protocol() is protocol
        assert isinstance(transport.get_extra_info("subprocess"), subprocess.Popen)
        assert f"pid={transport.get_pid()} running stdin=" in repr(transport)
        assert not transport.is_closing()
        transport.get_pipe_transport(0).close()
        await protocol.lost
        assert "returncode=3" in repr(transport)
        transport.close()
        assert transport.is_closing()

    run(main())


def test_unclosed_transports_warn_and_kill(loop_factory, no_leaked_fds):
    loop = loop_factory()
    transport, _ = loop.run_until_complete(shell(loop, "exec sleep 3600"))
    popen = transport._proc
    transport.kill()
    popen.wait()
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        del transport, loop
        gc.collect()


def test_debug_messages(loop, run, caplog):
    caplog.set_level(logging.DEBUG, "asyncio")
    loop.set_debug(True)

    async def main():
        transport, protocol = await shell(loop, "exec sleep 3600")
        transport.close()
        await protocol.lost

    run(main())
    for text in ("created: pid", "kill <", "exited with return code -9"):
        assert text in caplog.text
