"""call_soon_threadsafe: from any thread, at any moment, nothing lost, FIFO per thread."""

import asyncio
import threading
import time

import pytest
from support import FULL, since, spin

COUNT = 1_000_000 if FULL else 100_000
THREADS = 8


@pytest.fixture
def start():
    """Start a thread that is joined after the test."""
    threads = []

    def start(target, *args):
        thread = threading.Thread(target=target, args=args)
        threads.append(thread)
        thread.start()
        return thread

    yield start
    for thread in threads:
        thread.join()


def test_a_flood_from_threads_loses_nothing_and_keeps_order(loop, start):
    got = [[] for _ in range(THREADS)]
    each = COUNT // THREADS

    def flood(mine):
        for number in range(each):
            loop.call_soon_threadsafe(mine.append, number)
        loop.call_soon_threadsafe(finish)

    left = [THREADS]

    def finish():
        left[0] -= 1
        if not left[0]:
            loop.stop()

    for mine in got:
        start(flood, mine)
    loop.run_forever()
    assert all(mine == list(range(each)) for mine in got)


def test_an_idle_loop_wakes_up(loop, start, run):
    async def main():
        for _ in range(20):
            future = loop.create_future()
            start(lambda future=future: loop.call_soon_threadsafe(future.set_result, 1))
            await future

    run(main())


def test_a_sleeping_loop_wakes_up(loop, start):
    loop.call_later(3600, print)
    start(lambda: (time.sleep(0.05), loop.call_soon_threadsafe(loop.stop)))
    loop.run_forever()


def test_a_flood_does_not_starve_timers(loop, start, run):
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            loop.call_soon_threadsafe(int)

    async def main():
        start(flood)
        start(flood)
        for _ in range(5):
            await asyncio.sleep(0.001)
        stop.set()

    try:
        run(main())
    finally:
        stop.set()


def test_called_before_the_run_it_runs_first_turn(loop, start):
    ran = []
    start(loop.call_soon_threadsafe, ran.append, 1).join()
    spin(loop, turns=1)
    assert ran == [1]


def test_from_the_loops_own_thread_it_keeps_the_order_with_call_soon(loop):
    ran = []
    loop.call_soon(ran.append, 1)
    loop.call_soon_threadsafe(ran.append, 2)
    loop.call_soon(ran.append, 3)
    spin(loop)
    assert ran == [1, 2, 3]


def test_refused_after_close(loop, start):
    loop.close()
    raised = []

    def call():
        try:
            loop.call_soon_threadsafe(print)
        except RuntimeError as exc:
            raised.append(str(exc))

    start(call).join()
    assert raised == ["Event loop is closed"]


def test_racing_close(loop_factory, start):
    """A call either is taken or raises RuntimeError; close never crashes under it."""
    for _ in range(20):
        loop = loop_factory()
        running = threading.Event()

        def flood(loop=loop, running=running):
            running.set()
            try:
                while True:
                    loop.call_soon_threadsafe(int)
            except RuntimeError:
                pass

        thread = start(flood)
        running.wait()
        spin(loop, turns=2)
        loop.close()
        thread.join()


def test_cancel_from_another_thread(loop, start):
    ran = []
    handle = loop.call_soon_threadsafe(ran.append, 1)
    start(handle.cancel).join()
    spin(loop)
    assert ran == [] and handle.cancelled()


def test_stop_from_another_thread(loop, start):
    start(lambda: (time.sleep(0.02), loop.call_soon_threadsafe(loop.stop)))
    loop.run_forever()
    assert not loop.is_running()


def test_context_of_the_calling_thread(loop, start):
    import contextvars

    var = contextvars.ContextVar("var", default=None)
    got = []

    def call():
        var.set("thread")
        loop.call_soon_threadsafe(lambda: got.append(var.get()))

    start(call).join()
    spin(loop)
    assert got == ["thread"]


def test_run_coroutine_threadsafe(loop, start, run):
    results = []

    async def double(number):
        await asyncio.sleep(0)
        return number * 2

    def call(done):
        future = asyncio.run_coroutine_threadsafe(double(21), loop)
        results.append(future.result(20))
        loop.call_soon_threadsafe(done.set_result, None)

    async def main():
        done = loop.create_future()
        start(call, done)
        await done

    run(main())
    assert results == [42]


def test_two_loops_in_two_threads(loop, loop_factory, start, run):
    """Each thread runs its own loop; they talk through call_soon_threadsafe only."""
    other = loop_factory()
    start(other.run_forever)

    async def ping():
        future = loop.create_future()
        other.call_soon_threadsafe(loop.call_soon_threadsafe, future.set_result, "pong")
        return await future

    async def main():
        return [await ping() for _ in range(50)]

    try:
        assert run(main()) == ["pong"] * 50
    finally:
        other.call_soon_threadsafe(other.stop)
        while other.is_running():
            time.sleep(0.001)
        other.close()


def test_a_loop_made_in_one_thread_runs_in_another(loop_factory, start):
    loop = loop_factory()
    result = []

    def work():
        result.append(loop.run_until_complete(asyncio.sleep(0.001, "done")))
        loop.close()

    start(work).join()
    assert result == ["done"]


@since(3, 14)
def test_cancelling_waits_for_a_callback_that_is_running(loop, start):
    """Once `cancel()` has returned in its thread, the callback runs no more."""
    order, running = [], threading.Event()

    def callback():
        running.set()
        time.sleep(0.02)
        order.append("ran")

    def cancel():
        running.wait()
        handle.cancel()
        order.append("cancelled")
        loop.call_soon_threadsafe(loop.stop)

    handle = loop.call_soon_threadsafe(callback)
    start(cancel)
    loop.run_forever()
    assert order == ["ran", "cancelled"]
