"""Debug mode: how it is set, what it checks, what it logs."""

import asyncio
import gc
import logging
import socket
import subprocess
import sys
import threading
import time

import pytest
from support import child_command, eventually, run_child, spin


@pytest.fixture
def debug(loop):
    loop.set_debug(True)
    yield loop
    loop.set_debug(False)


async def coroutine_function():
    pass


def test_off_by_default(loop):
    assert loop.get_debug() is False


def test_set_debug(loop):
    loop.set_debug(True)
    assert loop.get_debug() is True
    assert "debug=True" in repr(loop)
    loop.set_debug(False)
    assert loop.get_debug() is False


def test_the_environment_turns_it_on(loop_factory, monkeypatch):
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    loop = loop_factory()
    assert loop.get_debug() is True
    loop.close()


def test_development_mode_turns_it_on(loop_kind):
    child = run_child(loop_kind, "print(new_event_loop().get_debug())")
    assert child.stdout == "False\n"
    python, *rest = child_command(loop_kind, "print(new_event_loop().get_debug())")
    output = subprocess.run([python, "-X", "dev", *rest], capture_output=True, text=True)
    assert output.stdout == "True\n"


# ── checks ───────────────────────────────────────────────────────────────────────────────────

SCHEDULE = {
    "call_soon": lambda loop, callback: loop.call_soon(callback),
    "call_soon_threadsafe": lambda loop, callback: loop.call_soon_threadsafe(callback),
    "call_later": lambda loop, callback: loop.call_later(0, callback),
    "call_at": lambda loop, callback: loop.call_at(0, callback),
    "run_in_executor": lambda loop, callback: loop.run_in_executor(None, callback),
}


@pytest.mark.parametrize("method", SCHEDULE)
def test_coroutine_functions_are_refused(debug, method):
    with pytest.raises(TypeError, match="coroutines cannot be used"):
        SCHEDULE[method](debug, coroutine_function)


@pytest.mark.parametrize("method", SCHEDULE)
def test_coroutines_are_refused(debug, method):
    coroutine = coroutine_function()
    with pytest.raises(TypeError, match="coroutines cannot be used"):
        SCHEDULE[method](debug, coroutine)
    coroutine.close()


@pytest.mark.parametrize("method", SCHEDULE)
@pytest.mark.parametrize("value", [None, 5, "text"])
def test_what_cannot_be_called_is_refused(debug, method, value):
    with pytest.raises(TypeError, match="a callable object was expected"):
        SCHEDULE[method](debug, value)


def in_thread(function):
    """What the function raises when called from another thread."""
    raised = []

    def work():
        try:
            function()
        except Exception as exc:
            raised.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return raised


@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at"])
def test_the_wrong_thread_is_refused_while_running(debug, run, method):
    async def main():
        return in_thread(lambda: SCHEDULE[method](debug, print))

    (raised,) = run(main())
    assert isinstance(raised, RuntimeError)
    assert "Non-thread-safe operation" in str(raised)


def test_any_thread_may_use_a_loop_that_does_not_run(debug):
    ran = []
    assert in_thread(lambda: debug.call_soon(ran.append, 1)) == []
    spin(debug)
    assert ran == [1]


def test_call_soon_threadsafe_is_taken_from_any_thread(debug, run):
    ran = []

    async def main():
        assert in_thread(lambda: debug.call_soon_threadsafe(ran.append, 1)) == []
        await eventually(lambda: ran)

    run(main())


def test_the_wrong_thread_is_not_checked_without_debug(loop, run):
    async def main():
        return in_thread(lambda: loop.call_soon(int))

    assert run(main()) == []


# ── tracebacks ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_handles_know_where_they_were_made(debug, method):
    handle = SCHEDULE[method](debug, print)
    assert handle._source_traceback[-1].filename == __file__
    assert "created at" in repr(handle)
    handle.cancel()


def test_a_failing_callback_is_reported_with_its_origin(debug, errors):
    def fail():
        raise ValueError

    debug.call_soon(fail)
    spin(debug)
    context = errors.take_one(ValueError)
    assert context["source_traceback"][-1].filename == __file__


def test_no_tracebacks_without_debug(loop):
    for schedule in SCHEDULE.values():
        assert getattr(schedule(loop, int), "_source_traceback", None) is None
    spin(loop)


def test_coroutine_origins_are_tracked_while_running(debug, run):
    depth = sys.get_coroutine_origin_tracking_depth()

    async def main():
        return sys.get_coroutine_origin_tracking_depth()

    assert run(main()) > depth
    assert sys.get_coroutine_origin_tracking_depth() == depth


def test_set_debug_while_running_tracks_origins(loop, run):
    async def main():
        before = sys.get_coroutine_origin_tracking_depth()
        loop.set_debug(True)
        await asyncio.sleep(0.001)
        during = sys.get_coroutine_origin_tracking_depth()
        loop.set_debug(False)
        await asyncio.sleep(0.001)
        return before, during, sys.get_coroutine_origin_tracking_depth()

    before, during, after = run(main())
    assert before == after < during


# ── logs ─────────────────────────────────────────────────────────────────────────────────────


def warnings_of(caplog):
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "asyncio" and record.levelno == logging.WARNING
    ]


def slow():
    time.sleep(0.02)


def schedule_soon(loop):
    loop.call_soon(slow)


def schedule_timer(loop):
    loop.call_later(0, slow)


def schedule_thread(loop):
    loop.call_soon_threadsafe(slow)


@pytest.mark.parametrize("schedule", [schedule_soon, schedule_timer, schedule_thread])
def test_slow_callbacks_are_logged(debug, caplog, schedule):
    debug.slow_callback_duration = 0.01
    schedule(debug)
    spin(debug)
    (message,) = warnings_of(caplog)
    assert message.startswith("Executing <")
    assert "slow() at" in message and __file__ in message
    assert " took " in message and message.endswith(" seconds")


def test_slow_tasks_are_logged(debug, caplog, run):
    async def slow_task():
        time.sleep(0.02)

    debug.slow_callback_duration = 0.01
    run(slow_task())
    assert any("Executing <Task" in message for message in warnings_of(caplog))


def test_fast_callbacks_are_not_logged(debug, caplog):
    debug.slow_callback_duration = 30
    debug.call_soon(slow)
    spin(debug)
    assert warnings_of(caplog) == []


def test_slow_callbacks_are_not_logged_without_debug(loop, caplog):
    loop.slow_callback_duration = 0.001
    loop.call_soon(slow)
    spin(loop)
    assert warnings_of(caplog) == []


# ── warnings ─────────────────────────────────────────────────────────────────────────────────


def test_an_unclosed_transport_warns(loop_factory):
    loop = loop_factory()
    loop.set_debug(True)
    ours, peer = socket.socketpair()
    transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=ours))
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        del transport, ours
        gc.collect()
    peer.close()
