"""Executors and name resolution."""

import asyncio
import concurrent.futures
import contextvars
import socket
import threading
import time

import pytest
from support import Boom, raising, since, spin


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
