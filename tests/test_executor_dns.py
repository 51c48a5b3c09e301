"""Executors and name resolution."""

import asyncio
import concurrent.futures
import contextvars
import os
import shutil
import socket
import subprocess
import threading
import time

import pytest
from support import Boom, child_command, interrupt_child, raising, run_child, since, spin


@pytest.fixture(autouse=True)
def joined(loop):
    """Let no worker thread of the loop outlive the test."""
    yield
    if not loop.is_closed() and loop._default_executor is not None:
        loop.run_until_complete(loop.shutdown_default_executor())


def test_runs_in_a_worker_thread(loop, run):
    async def main():
        return await loop.run_in_executor(None, threading.get_ident)

    assert run(main()) != threading.get_ident()


def test_result_and_arguments(loop, run):
    async def main():
        return await loop.run_in_executor(None, divmod, 7, 3)

    assert run(main()) == (2, 1)


def test_exceptions_come_back(loop, run):
    async def main():
        with pytest.raises(Boom):
            await loop.run_in_executor(None, raising())

    run(main())


def test_an_idle_loop_wakes_for_the_result(loop, run):
    async def main():
        await loop.run_in_executor(None, time.sleep, 0.02)

    run(main())


def test_own_executor(loop, run):
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:

        async def main():
            return await loop.run_in_executor(executor, lambda: threading.current_thread().name)

        assert run(main()).startswith("mine")


def test_default_executor_attribute(loop, run):
    assert loop._default_executor is None
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        loop.set_default_executor(executor)
        assert loop._default_executor is executor

        async def main():
            return await loop.run_in_executor(None, lambda: threading.current_thread().name)

        assert run(main()).startswith("mine")


@pytest.mark.parametrize("value", [None, 5, object()])
def test_the_default_executor_must_be_a_thread_pool(loop, value):
    with pytest.raises(TypeError):
        loop.set_default_executor(value)


def test_many_jobs(loop, run):
    async def main():
        jobs = [loop.run_in_executor(None, pow, number, 2) for number in range(500)]
        return await asyncio.gather(*jobs)

    assert run(main()) == [number**2 for number in range(500)]


def test_shutdown_refuses_new_jobs(loop, run):
    async def main():
        await loop.run_in_executor(None, int)
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
            loop.run_in_executor(None, int)

    run(main())


@since(3, 12)
@pytest.mark.asyncio_wrong("it waits for the threads all the same", until=(3, 13), inherited=True)
def test_shutdown_with_a_timeout(loop, run):
    go_on = threading.Event()

    async def main():
        job = loop.run_in_executor(None, go_on.wait, 1)
        with pytest.warns(RuntimeWarning, match="did not finish"):
            await loop.shutdown_default_executor(timeout=0.01)
        go_on.set()
        await job

    run(main())
    spin(loop)


def test_to_thread_keeps_the_context(loop, run):
    var = contextvars.ContextVar("var", default="unset")

    async def main():
        var.set("set")
        return await asyncio.to_thread(var.get)

    assert run(main()) == "set"


def test_a_cancelled_job(loop, run):
    go_on = threading.Event()

    async def main():
        job = loop.run_in_executor(None, go_on.wait, 20)
        await asyncio.sleep(0.001)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        go_on.set()

    run(main())


# ── names ────────────────────────────────────────────────────────────────────────────────────

LOOKUPS = [
    (("127.0.0.1", 80), {}),
    (("127.0.0.1", 80), {"type": socket.SOCK_STREAM}),
    (("127.0.0.1", 80), {"type": socket.SOCK_DGRAM, "family": socket.AF_INET}),
    (("127.0.0.1", "80"), {"type": socket.SOCK_STREAM}),
    (("127.0.0.1", None), {"type": socket.SOCK_STREAM}),
    (("::1", 80), {"type": socket.SOCK_STREAM}),
    (("::1", 80), {"family": socket.AF_INET6, "proto": socket.IPPROTO_TCP}),
    ((b"127.0.0.1", 80), {"type": socket.SOCK_STREAM}),
    ((None, 80), {"type": socket.SOCK_STREAM, "flags": socket.AI_PASSIVE}),
    ((None, 80), {"type": socket.SOCK_STREAM}),
    (("127.0.0.1", 80), {"type": socket.SOCK_STREAM, "flags": socket.AI_NUMERICHOST}),
    (("127.0.0.1", 80), {"type": socket.SOCK_STREAM, "flags": socket.AI_CANONNAME}),
    (("localhost", 80), {"type": socket.SOCK_STREAM, "family": socket.AF_INET}),
    (("fe80::1%1", 80), {"type": socket.SOCK_STREAM}),
    (("127.1", 80), {"type": socket.SOCK_STREAM}),
    (("0x7f.1", 80), {"type": socket.SOCK_STREAM}),
    (("", 80), {"type": socket.SOCK_STREAM}),
    (("127.0.0.1", 0), {"type": socket.SOCK_RAW, "proto": socket.IPPROTO_ICMP}),
]


def outcome(function):
    """The sorted result, or the class of the exception and its errno."""
    try:
        return sorted(function())
    except Exception as exc:
        return type(exc), exc.args[:1] if isinstance(exc, OSError) else None


@pytest.mark.parametrize("args, kwargs", LOOKUPS)
def test_getaddrinfo_is_the_socket_modules(loop, run, args, kwargs):
    expected = outcome(lambda: socket.getaddrinfo(*args, **kwargs))
    assert outcome(lambda: run(loop.getaddrinfo(*args, **kwargs))) == expected


FAILURES = [
    (("127.0.0.1", 80), {"family": socket.AF_INET6}),
    (("::1", 80), {"family": socket.AF_INET}),
    (("not a number", 80), {"flags": socket.AI_NUMERICHOST}),
    (("127.0.0.1", "no-such-service"), {}),
    (("127.0.0.1", 80), {"type": 12345}),
    (("127.0.0.1", 80), {"family": 12345}),
    ((5, 80), {}),
    (("127.0.0.1", 1.5), {}),
    (("127.0.0.1", 10**30), {}),
]


@pytest.mark.parametrize("args, kwargs", FAILURES)
def test_getaddrinfo_fails_as_the_socket_module_does(loop, run, args, kwargs):
    expected = outcome(lambda: socket.getaddrinfo(*args, **kwargs))
    assert isinstance(expected, tuple), "expected to fail"
    assert outcome(lambda: run(loop.getaddrinfo(*args, **kwargs))) == expected


def test_lookup_errors_are_gaierrors(loop, run):
    with pytest.raises(socket.gaierror):
        run(loop.getaddrinfo("not a number", 80, flags=socket.AI_NUMERICHOST))


@pytest.mark.parametrize("flags", [0, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV])
def test_getnameinfo(loop, run, flags):
    expected = socket.getnameinfo(("127.0.0.1", 80), flags)
    assert run(loop.getnameinfo(("127.0.0.1", 80), flags)) == expected


def test_a_literal_needs_no_thread(loop, run, listener):
    async def main():
        transport, _ = await loop.create_connection(asyncio.Protocol, *listener.getsockname())
        transport.abort()

    run(main())
    assert loop._default_executor is None


def test_the_types_are_the_socket_modules(loop, run):
    for args in [("127.0.0.1", 80), ("::1", 80), ("::1.2.3.4", "80"), (None, 80)]:
        ours = run(loop.getaddrinfo(*args, type=socket.SOCK_STREAM))
        theirs = socket.getaddrinfo(*args, type=socket.SOCK_STREAM)
        assert ours == theirs and repr(ours) == repr(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert [type(part) for part in one] == [type(part) for part in other]


@pytest.mark.parametrize("host", ["a" * 64 + ".invalid", "a..b", "\udcff"])
def test_names_that_are_none_are_refused(loop, run, host):
    with pytest.raises(UnicodeError):
        run(loop.getaddrinfo(host, 80))


@pytest.mark.parametrize("host", ["127.0.0.1\0", b"127.0.0.1\0x", "1.2.3.4"])
@pytest.mark.parametrize("port", [80, "80\0", b"80"])
def test_zero_bytes_mean_what_they_mean_to_the_socket_module(loop, run, host, port):
    expected = outcome(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    assert outcome(lambda: run(loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))) == expected


ADDRESSES = [
    (("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
    (("::1", 80), socket.NI_NUMERICHOST),
    (("::1", 80, 0, 0), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
    (("127.0.0.1", 53), socket.NI_NUMERICHOST | socket.NI_DGRAM),
    (("127.0.0.1", 80, 0), 0),
    (("127.0.0.1",), 0),
    (("no literal", 80), socket.NI_NUMERICHOST),
    (["127.0.0.1", 80], 0),
    (("127.0.0.1", -1), 0),
    (("::1", 80, 1 << 20), 0),
    (("127.0.0.1", "80"), 0),
    ((b"127.0.0.1", 80), 0),
]


@pytest.mark.parametrize("address, flags", ADDRESSES)
def test_getnameinfo_is_the_socket_modules(loop, run, address, flags):
    expected = outcome(lambda: [socket.getnameinfo(address, flags)])
    assert outcome(lambda: [run(loop.getnameinfo(address, flags))]) == expected


def test_errors_have_the_arguments_of_the_socket_modules(loop, run):
    with pytest.raises(socket.gaierror) as theirs:
        socket.getaddrinfo("not a number", 80, flags=socket.AI_NUMERICHOST)
    with pytest.raises(socket.gaierror) as ours:
        run(loop.getaddrinfo("not a number", 80, flags=socket.AI_NUMERICHOST))
    assert ours.value.args == theirs.value.args


@pytest.mark.parametrize("function", ["getaddrinfo", "getnameinfo"])
def test_another_function_in_its_place_is_called(loop, run, monkeypatch, function):
    monkeypatch.setattr(socket, function, lambda *args: ["replaced", *args])
    if function == "getaddrinfo":
        assert run(loop.getaddrinfo("127.0.0.1", 80)) == ["replaced", "127.0.0.1", 80, 0, 0, 0, 0]
    else:
        assert run(loop.getnameinfo(("127.0.0.1", 80), 3)) == ["replaced", ("127.0.0.1", 80), 3]


def test_debug_mode_logs_lookups(loop, run, caplog):
    caplog.set_level("DEBUG", "asyncio")
    loop.set_debug(True)
    run(loop.getaddrinfo("127.0.0.1", 80))
    loop.set_debug(False)
    assert any("Get address info 127.0.0.1:80" in record.message for record in caplog.records)


def test_lookups_are_audited(loop_kind):
    child = run_child(
        loop_kind,
        """
        import sys
        seen = []
        sys.addaudithook(lambda event, args: seen.append((event, args)))
        loop = new_event_loop()
        loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80, type=1))
        loop.run_until_complete(loop.getnameinfo(("127.0.0.1", 80), 3))
        loop.close()
        names = [(event, args) for event, args in seen if event.startswith("socket.get")]
        assert ("socket.getaddrinfo", ("127.0.0.1", 80, 0, 1, 0)) in names, names
        assert ("socket.getnameinfo", (("127.0.0.1", 80),)) in names, names
        """,
    )
    assert child.returncode == 0, child.stderr


def test_after_the_end(loop, run):
    loop.close()
    for coroutine in [
        loop.getaddrinfo("127.0.0.1", 80),
        loop.getaddrinfo("localhost", 80),
        loop.getnameinfo(("127.0.0.1", 80), 3),
    ]:
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            coroutine.send(None)


def test_a_cancelled_lookup(loop, run):
    async def main():
        tasks = [loop.create_task(loop.getaddrinfo("localhost", 80)) for _ in range(50)]
        await asyncio.sleep(0)
        for task in tasks[1:]:
            task.cancel()
        done, _ = await asyncio.wait(tasks)
        assert len(done) == 50
        assert all(task.cancelled() or task.result() for task in tasks)
        assert await tasks[0]

    run(main())


def test_many_lookups_at_once(loop, run):
    async def main():
        lookups = [loop.getaddrinfo("localhost", port, type=1) for port in range(200)]
        return await asyncio.gather(*lookups)

    for port, found in enumerate(run(main())):
        assert found and all(one[4][1] == port for one in found)


@pytest.mark.oxloop_only
def test_names_do_not_wait_for_the_executor(loop, run):
    go_on = threading.Event()

    async def main():
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, go_on.wait, 20)
        assert await loop.getaddrinfo("localhost", 80)
        go_on.set()
        await busy

    run(main())


def test_the_end_of_the_loop_with_lookups_on_their_way(loop_kind):
    child = run_child(
        loop_kind,
        """
        async def main():
            loop = asyncio.get_running_loop()
            for number in range(100):
                loop.create_task(loop.getaddrinfo(f"host{number}.invalid", 80))
            await asyncio.sleep(0)

        loop = new_event_loop()
        loop.run_until_complete(main())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        print("closed")
        """,
    )
    assert (child.returncode, child.stdout) == (0, "closed\n"), child.stderr


def test_a_forked_child_looks_names_up_on_its_own(loop_kind):
    child = run_child(
        loop_kind,
        """
        import os, warnings
        warnings.simplefilter("ignore")
        loop = new_event_loop()
        loop.run_until_complete(loop.getaddrinfo("localhost", 80))
        pid = os.fork()
        if not pid:
            mine = new_event_loop()
            os._exit(not mine.run_until_complete(mine.getaddrinfo("localhost", 80)))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        loop.run_until_complete(loop.getaddrinfo("localhost", 80))
        loop.close()
        """,
    )
    assert child.returncode == 0, child.stderr


#: What a program may do with lookups on their way, and the status and the word it leaves.
EXITS = {
    "the end of the program": ("", 0),
    "a closed loop": ("loop.close()", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "an exception": ("raise RuntimeError", 1),
    "a signal": ("os.kill(os.getpid(), signal.SIGTERM)", -15),
}

#: Lookups begin, and the process is about to end.
LEAVING = """
import os, signal, sys

async def main():
    loop = asyncio.get_running_loop()
    for number in range(64):
        lookups.append(loop.create_task(loop.getaddrinfo(f"host{number}.invalid", 80)))
    await asyncio.sleep(0.05)

lookups = []
loop = new_event_loop()
loop.set_exception_handler(lambda loop, context: None)
loop.run_until_complete(main())
print(sum(lookup.done() for lookup in lookups), flush=True)
"""


@pytest.mark.oxloop_only
@pytest.mark.parametrize("exit", EXITS)
def test_a_process_ends_with_lookups_on_their_way(loop_kind, exit):
    """Its threads may still be looking: nobody waits for them, and nothing crashes."""
    source, status = EXITS[exit]
    child = run_child(loop_kind, LEAVING + source)
    assert child.returncode == status, child.stderr
    assert "panicked" not in child.stderr


@pytest.fixture(scope="session")
def silent_resolver(tmp_path_factory):
    """A library that makes every lookup of a process one without an end."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("resolver")
    (folder / "silent.c").write_text(
        "#include <unistd.h>\n"
        "int getaddrinfo(const char *a, const char *b, const void *c, void **d)"
        " { for (;;) pause(); }\n"
    )
    library = folder / "silent.so"
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(folder / "silent.c")]
    # What is loaded before everything (a sanitizer) is not for the compiler, and stays the first.
    env = dict(os.environ)
    before = env.pop("LD_PRELOAD", "")
    subprocess.run(command, check=True, timeout=60, env=env)
    return f"{before} {library}".lstrip()


@pytest.mark.oxloop_only
@pytest.mark.parametrize("exit", EXITS)
def test_a_process_ends_in_the_middle_of_lookups_that_never_end(loop_kind, silent_resolver, exit):
    """asyncio waits for them, as for everything in its executor."""
    source, status = EXITS[exit]
    env = dict(os.environ, LD_PRELOAD=silent_resolver)
    child = run_child(loop_kind, LEAVING + source, env=env)
    assert child.returncode == status, child.stderr
    assert child.stdout == "0\n"
    assert "panicked" not in child.stderr


@pytest.mark.oxloop_only
def test_a_process_is_interrupted_in_the_middle_of_lookups_that_never_end(
    loop_kind, silent_resolver
):
    command = child_command(loop_kind, LEAVING + "loop.run_forever()")
    env = dict(os.environ, LD_PRELOAD=silent_resolver)
    status, stderr = interrupt_child(command, env=env)
    assert status == -2, stderr
    assert "KeyboardInterrupt" in stderr and "panicked" not in stderr
