"""Signals, Ctrl-C and the exceptions that leave the loop at once."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from support import (
    Boom,
    Recorder,
    child_command,
    hooked,
    interrupt_child,
    raising,
    raising_once,
    spin,
)

SIGNAL = signal.SIGUSR1


def send(signum=SIGNAL):
    os.kill(os.getpid(), signum)


@pytest.fixture
def later():
    """Run a function in a thread after a moment, when the loop is idle."""
    threads = []

    def later(function, *args):
        thread = threading.Thread(target=lambda: (time.sleep(0.05), function(*args)))
        threads.append(thread)
        thread.start()

    yield later
    for thread in threads:
        thread.join()


# ── add_signal_handler ───────────────────────────────────────────────────────────────────────


def test_handler_runs_with_its_arguments(loop):
    ran = []
    loop.add_signal_handler(SIGNAL, lambda *args: (ran.append(args), loop.stop()), 1, 2)
    send()
    loop.run_forever()
    assert ran == [(1, 2)]


def test_handler_acts_at_once_in_an_idle_loop(loop, later):
    loop.add_signal_handler(SIGNAL, loop.stop)
    later(send)
    loop.run_forever()


def test_handler_is_active_on_return(loop):
    ran = []
    loop.add_signal_handler(SIGNAL, ran.append, 1)
    send()
    spin(loop)
    assert ran == [1]


def test_a_signal_between_two_runs_is_delivered_in_the_next(loop):
    ran = []
    loop.add_signal_handler(SIGNAL, ran.append, 1)
    spin(loop)
    send()
    assert ran == []
    spin(loop)
    assert ran == [1]


def test_every_signal_of_a_series_arrives(loop, run):
    ran = []

    async def main():
        loop.add_signal_handler(SIGNAL, ran.append, 1)
        for number in range(1, 20):
            send()
            while len(ran) < number:
                await asyncio.sleep(0)

    run(main())
    assert len(ran) == 19


def test_several_signals_each_with_its_handler(loop):
    ran = []
    for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        loop.add_signal_handler(signum, ran.append, signum)
    for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        send(signum)
    spin(loop)
    assert sorted(ran) == sorted((signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM))


def test_replaced_handler(loop):
    ran = []
    loop.add_signal_handler(SIGNAL, ran.append, "old")
    loop.add_signal_handler(SIGNAL, ran.append, "new")
    send()
    spin(loop)
    assert ran == ["new"]


def test_remove_tells_whether_there_was_one(loop):
    loop.add_signal_handler(SIGNAL, print)
    assert loop.remove_signal_handler(SIGNAL) is True
    assert loop.remove_signal_handler(SIGNAL) is False
    assert signal.getsignal(SIGNAL) is signal.SIG_DFL


def test_removed_inside_its_callback(loop):
    ran = []
    loop.add_signal_handler(
        SIGNAL, lambda: (ran.append(1), loop.remove_signal_handler(SIGNAL), loop.stop())
    )
    send()
    loop.run_forever()
    assert ran == [1] and signal.getsignal(SIGNAL) is signal.SIG_DFL


def test_dispositions_are_restored_on_close(loop):
    loop.add_signal_handler(SIGNAL, print)
    loop.add_signal_handler(signal.SIGINT, print)
    loop.close()
    assert signal.getsignal(SIGNAL) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    wakeup = signal.set_wakeup_fd(-1)
    assert wakeup == -1


def test_sigint_handler_replaces_keyboard_interrupt(loop, later):
    loop.add_signal_handler(signal.SIGINT, loop.stop)
    later(send, signal.SIGINT)
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGINT)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_uncatchable_signals_are_refused(loop, signum):
    with pytest.raises(RuntimeError, match="cannot be caught"):
        loop.add_signal_handler(signum, print)


@pytest.mark.parametrize("signum", [0, -1, 999])
def test_invalid_numbers_are_refused(loop, signum):
    with pytest.raises(ValueError):
        loop.add_signal_handler(signum, print)
    with pytest.raises(ValueError):
        loop.remove_signal_handler(signum)


@pytest.mark.parametrize("signum", ["SIGUSR1", None, 1.5])
def test_other_types_are_refused(loop, signum):
    with pytest.raises(TypeError):
        loop.add_signal_handler(signum, print)


def test_coroutine_functions_are_refused(loop):
    async def handler():
        pass

    with pytest.raises(TypeError):
        loop.add_signal_handler(SIGNAL, handler)


def test_refused_outside_the_main_thread(loop_factory):
    raised = []

    def work():
        loop = loop_factory()
        try:
            loop.add_signal_handler(SIGNAL, print)
        except RuntimeError as exc:
            raised.append(exc)
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(raised) == 1


def test_raising_handler_reaches_the_exception_handler(loop, errors):
    loop.add_signal_handler(SIGNAL, raising())
    send()
    spin(loop)
    errors.take_one()


# ── signal.signal handlers ───────────────────────────────────────────────────────────────────


@pytest.fixture
def python_handler():
    """Install a plain Python handler for SIGNAL for the time of the test."""

    def install(function):
        signal.signal(SIGNAL, function)

    before = signal.getsignal(SIGNAL)
    yield install
    signal.signal(SIGNAL, before)


def test_python_handler_acts_at_once_in_an_idle_loop(loop, later, python_handler):
    python_handler(lambda signum, frame: loop.call_soon_threadsafe(loop.stop))
    later(send)
    loop.run_forever()


def test_python_handler_may_raise_out_of_an_idle_loop(loop, later, python_handler):
    def handler(signum, frame):
        raise Boom

    python_handler(handler)
    later(send)
    with pytest.raises(Boom):
        loop.run_forever()
    spin(loop)
    assert not loop.is_running()


def test_python_handler_runs_beside_a_loops_handler(loop, python_handler):
    ran = []
    python_handler(lambda signum, frame: ran.append("python"))
    loop.add_signal_handler(signal.SIGUSR2, ran.append, "loop")
    send()
    send(signal.SIGUSR2)
    spin(loop)
    assert sorted(ran) == ["loop", "python"]


def lost_signals(loop, rounds=150):
    """Signals at every moment of a run's start: how many did not end the wait that followed."""
    lost = []

    def give_up():
        lost.append(1)
        loop.stop()

    for number in range(rounds):
        delay = number % 50 * 0.000_01
        sender = threading.Thread(target=lambda delay=delay: (time.sleep(delay), send()))
        timer = loop.call_later(1, give_up)
        sender.start()
        loop.call_soon(int)
        loop.run_forever()
        sender.join()
        timer.cancel()
        if len(lost) > 3:
            break
    return len(lost)


def test_no_moment_loses_a_signal_of_the_loop(loop):
    loop.add_signal_handler(SIGNAL, loop.stop)
    assert lost_signals(loop) == 0


@pytest.mark.oxloop_only
def test_no_moment_loses_a_signal_of_a_python_handler(loop, python_handler):
    """asyncio may sleep through one that comes just before the wait."""
    python_handler(lambda signum, frame: loop.call_soon_threadsafe(loop.stop))
    assert lost_signals(loop) == 0


@pytest.mark.oxloop_only
def test_no_moment_loses_what_a_python_handler_schedules(loop, python_handler):
    """A handler runs on the loop's own thread, so call_soon() is as good."""
    python_handler(lambda signum, frame: loop.call_soon(loop.stop))
    assert lost_signals(loop) == 0


# ── exceptions that leave the loop ───────────────────────────────────────────────────────────

LEAVING = pytest.mark.parametrize("exc", [KeyboardInterrupt, SystemExit])


def check_usable(loop):
    assert not loop.is_running()
    assert loop.run_until_complete(asyncio.sleep(0.001, "usable")) == "usable"


@LEAVING
@pytest.mark.parametrize("how", ["call_soon", "call_soon_threadsafe", "call_later"])
def test_from_a_callback(loop, exc, how):
    ran = []
    args = (0,) if how == "call_later" else ()
    getattr(loop, how)(*args, raising(exc))
    getattr(loop, how)(*args, ran.append, "after")
    with pytest.raises(exc):
        loop.run_forever()
    check_usable(loop)
    assert ran == ["after"]


@LEAVING
def test_from_a_task(loop, exc):
    async def main():
        await asyncio.sleep(0)
        raise exc

    with pytest.raises(exc):
        loop.run_until_complete(main())
    check_usable(loop)


@LEAVING
def test_from_a_reader(loop, exc):
    ours, peer = socket.socketpair()
    with ours, peer:
        peer.send(b"x")
        loop.add_reader(ours, raising(exc))
        with pytest.raises(exc):
            loop.run_forever()
        loop.remove_reader(ours)
    check_usable(loop)


@LEAVING
@pytest.mark.parametrize("method", ["data_received", "eof_received"])
def test_from_a_protocol_method(loop, connect, exc, method):
    _, _, peer = connect(hooked(**{method: raising_once(exc)}))
    peer.send(b"x")
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(exc):
        loop.run_forever()
    check_usable(loop)


@LEAVING
def test_from_connection_made(loop, exc):
    ours, peer = socket.socketpair()
    protocols = []

    def factory():
        protocols.append(Recorder(connection_made=raising(exc)))
        return protocols[0]

    opening = loop.create_task(loop.create_connection(factory, sock=ours))
    with pytest.raises(exc):
        loop.run_until_complete(opening)
    check_usable(loop)
    protocols[0].transport.abort()
    opening.cancel()
    spin(loop)
    peer.close()


@LEAVING
def test_from_connection_lost(loop, connect, exc):
    transport, _, _ = connect(hooked(connection_lost=raising(exc)))
    transport.close()
    with pytest.raises(exc):
        loop.run_forever()
    check_usable(loop)


@LEAVING
def test_from_the_exception_handler(loop, exc):
    loop.set_exception_handler(raising(exc))
    loop.call_soon(raising())
    with pytest.raises(exc):
        loop.run_forever()
    check_usable(loop)


# ── Ctrl-C in a child interpreter ────────────────────────────────────────────────────────────

IDLE = """
async def main():
    print("ready", flush=True)
    await asyncio.sleep(3600)
"""


def test_ctrl_c_in_an_idle_loop_acts_at_once(loop_kind):
    source = IDLE + "loop = new_event_loop()\nloop.run_until_complete(main())"
    status, stderr = interrupt_child(child_command(loop_kind, source))
    assert status == -signal.SIGINT
    assert "KeyboardInterrupt" in stderr


def test_ctrl_c_under_a_runner_cancels_the_main_task(loop_kind):
    source = """
    async def main():
        print("ready", flush=True)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            import sys
            sys.stderr.write("cancelled first\\n")
            raise

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
    """
    status, stderr = interrupt_child(child_command(loop_kind, source))
    assert status == -signal.SIGINT
    assert "cancelled first" in stderr and "KeyboardInterrupt" in stderr


SENDER = """
import os, sys
for _ in sys.stdin.buffer.raw:
    os.kill(os.getppid(), int(sys.argv[1]))
"""


def busy(seconds):
    """A function, as 3.13 does not take the jump back of a loop for a part of the `with` around."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.mark.oxloop_only  # asyncio sleeps on when the signal comes between its look and its wait
def test_a_handler_that_raises_ends_the_wait_from_any_moment(loop):
    before = signal.signal(SIGNAL, raising(KeyboardInterrupt))
    command = [sys.executable, "-c", SENDER, str(int(SIGNAL))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0) as sender:
        for turn in range(1000):
            # Any of these lines may be where the signal comes.
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012
                sender.stdin.write(b"\n")
                busy(turn % 100 / 1e6)
                loop.run_forever()
            assert signal.set_wakeup_fd(-1) == -1
    signal.signal(SIGNAL, before)
    check_usable(loop)


@pytest.mark.oxloop_only  # asyncio looks at no wake-up descriptor of others
def test_a_closed_descriptor_that_somebody_left_as_the_wakeup_is_replaced(loop, later):
    loop.call_later(0.001, loop.stop)
    loop.run_forever()  # what it needs, it has: it takes no number that is free below
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    os.close(writing)
    os.close(reading)
    later(loop.call_soon_threadsafe, loop.stop)
    loop.run_forever()
    assert signal.set_wakeup_fd(-1) == -1


def test_sigterm_ends_an_idle_loop_as_by_default(loop_kind):
    source = IDLE + "new_event_loop().run_until_complete(main())"
    status, _ = interrupt_child(child_command(loop_kind, source), signal.SIGTERM)
    assert status == -signal.SIGTERM
