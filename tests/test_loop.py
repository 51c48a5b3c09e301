"""The loop itself: what it is, one turn, run, stop, close, nesting."""

import asyncio
import gc
import socket
import sys
import weakref

import pytest
from support import Boom, raising, run_child, spin


def test_is_a_real_asyncio_loop(loop):
    assert isinstance(loop, asyncio.AbstractEventLoop)
    assert isinstance(loop, asyncio.BaseEventLoop)
    assert isinstance(loop, asyncio.SelectorEventLoop)


def test_repr_tells_the_state(loop):
    assert repr(loop).endswith(" running=False closed=False debug=False>")


def test_has_weakrefs_and_attributes(loop):
    loop.extra = "mine"
    assert weakref.ref(loop)() is loop
    assert loop.__dict__["extra"] == "mine"


def test_create_future_belongs_to_the_loop(loop):
    future = loop.create_future()
    assert isinstance(future, asyncio.Future)
    assert future.get_loop() is loop


# ── run ──────────────────────────────────────────────────────────────────────────────────────


def test_run_until_complete_returns_the_result(loop):
    async def main():
        await asyncio.sleep(0)
        assert asyncio.get_running_loop() is loop
        return 42

    assert loop.run_until_complete(main()) == 42


def test_run_until_complete_raises_the_exception(loop):
    async def main():
        raise Boom

    with pytest.raises(Boom):
        loop.run_until_complete(main())


def test_run_until_complete_of_a_done_future(loop):
    future = loop.create_future()
    future.set_result("done")
    assert loop.run_until_complete(future) == "done"


def test_run_until_complete_stopped_early(loop):
    async def main():
        loop.stop()
        await asyncio.sleep(3600)

    task = loop.create_task(main())
    with pytest.raises(RuntimeError, match="Event loop stopped before Future completed"):
        loop.run_until_complete(task)
    task.cancel()
    spin(loop)
    assert task.cancelled()


def test_run_until_complete_refuses_what_is_not_awaitable(loop):
    with pytest.raises(TypeError):
        loop.run_until_complete(lambda: None)


def test_run_until_complete_refuses_a_future_of_another_loop(loop, loop_factory):
    other = loop_factory()
    try:
        with pytest.raises(ValueError):
            loop.run_until_complete(other.create_future())
    finally:
        other.close()


def test_is_running_only_while_running(loop):
    seen = []
    loop.call_soon(lambda: seen.append(loop.is_running()))
    spin(loop)
    assert seen == [True]
    assert not loop.is_running()


def test_running_loop_is_set_through_the_module_attribute(loop, monkeypatch):
    calls = []
    real = asyncio.events._set_running_loop

    def spy(value):
        calls.append(value)
        real(value)

    monkeypatch.setattr(asyncio.events, "_set_running_loop", spy)
    spin(loop, turns=1)
    assert calls == [loop, None]


def test_async_generator_hooks_are_restored(loop):
    def mine(agen):
        pass

    old = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=mine, finalizer=mine)
    inside = []
    try:
        loop.call_soon(lambda: inside.append(sys.get_asyncgen_hooks()))
        spin(loop)
        assert inside[0] != (mine, mine)
        assert sys.get_asyncgen_hooks() == (mine, mine)
    finally:
        sys.set_asyncgen_hooks(*old)


def test_abandoned_async_generator_is_closed_by_the_loop(loop, run):
    closed = []

    async def numbers():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async def main():
        async for _ in numbers():
            break
        gc.collect()
        while not closed:
            await asyncio.sleep(0)

    run(main())
    assert closed == [True]


def test_shutdown_asyncgens_closes_what_is_open(loop, run):
    closed = []

    async def numbers():
        try:
            yield 1
        finally:
            closed.append(True)

    generator = numbers()

    async def main():
        await anext(generator)
        await loop.shutdown_asyncgens()

    run(main())
    assert closed == [True]


# ── nesting ──────────────────────────────────────────────────────────────────────────────────


RESET_BY_A_NESTED_RUN = pytest.mark.asyncio_wrong(
    "the refused nested run resets the outer one", since=(3, 13), until=(3, 14), strict=False
)


@RESET_BY_A_NESTED_RUN
def test_nested_run_forever_is_refused_and_the_outer_run_goes_on(loop, run):
    async def main():
        with pytest.raises(RuntimeError, match="already running"):
            loop.run_forever()
        assert asyncio.get_running_loop() is loop and loop.is_running()
        await asyncio.sleep(0.001)
        return "intact"

    assert run(main()) == "intact"


def test_nested_run_until_complete_is_refused_and_the_outer_run_goes_on(loop, run):
    async def main():
        with pytest.raises(RuntimeError, match="already running"):
            loop.run_until_complete(loop.create_future())
        assert asyncio.get_running_loop() is loop and loop.is_running()
        await asyncio.sleep(0.001)
        return "intact"

    assert run(main()) == "intact"


@RESET_BY_A_NESTED_RUN
def test_nested_run_of_another_loop_is_refused(loop, run, loop_factory):
    async def main():
        other = loop_factory()
        with pytest.raises(RuntimeError, match="another loop is running"):
            other.run_forever()
        other.close()
        assert asyncio.get_running_loop() is loop

    run(main())


@pytest.mark.asyncio_wrong("the loop is running for ever", since=(3, 14))
def test_a_run_that_cannot_begin_leaves_the_loop_usable(loop, run, monkeypatch):
    hooks = sys.get_asyncgen_hooks()
    set_running_loop = asyncio.events._set_running_loop

    def fail(running):
        if running is not None:
            raise MemoryError
        set_running_loop(running)

    with monkeypatch.context() as patched:
        patched.setattr(asyncio.events, "_set_running_loop", fail)
        with pytest.raises(MemoryError):
            loop.run_forever()
    assert not loop.is_running()
    assert sys.get_asyncgen_hooks() == hooks
    run(asyncio.sleep(0))


def test_close_while_running_is_refused(loop, run):
    async def main():
        with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
            loop.close()
        await asyncio.sleep(0)

    run(main())
    assert not loop.is_closed()


# ── stop ─────────────────────────────────────────────────────────────────────────────────────


def test_stop_before_run_polls_once_and_runs_what_is_ready(loop):
    ran = []
    ours, peer = socket.socketpair()
    with ours, peer:
        peer.send(b"x")
        loop.add_reader(ours, ran.append, "io")
        loop.call_soon(ran.append, "soon")
        loop.call_later(0, ran.append, "timer")
        loop.stop()
        loop.run_forever()
        loop.remove_reader(ours)
    assert ran == ["soon", "io", "timer"]


def test_stop_before_run_does_not_wait(loop):
    loop.call_later(3600, raising())
    loop.stop()
    loop.run_forever()


def test_stop_ends_the_batch_and_keeps_later_callbacks(loop):
    ran = []

    def first():
        loop.stop()
        loop.call_soon(ran.append, "next run")

    loop.call_soon(first)
    loop.call_soon(ran.append, "same batch")
    loop.run_forever()
    assert ran == ["same batch"]
    spin(loop, turns=1)
    assert ran == ["same batch", "next run"]


def test_stop_is_forgotten_after_the_run(loop):
    ran = []
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.call_soon(loop.call_soon, ran.append, "second turn")
    loop.call_later(0.1, loop.stop)
    loop.run_forever()
    assert ran == ["second turn"]


# ── the order in a turn ──────────────────────────────────────────────────────────────────────


def test_call_soon_is_fifo(loop):
    ran = []
    for number in range(1000):
        loop.call_soon(ran.append, number)
    spin(loop, turns=1)
    assert ran == list(range(1000))


def test_order_in_a_turn_is_ready_io_timers(loop):
    ran = []
    ours, peer = socket.socketpair()
    with ours, peer:
        peer.send(b"x")
        loop.call_later(-1, ran.append, "overdue")
        loop.call_later(-2, ran.append, "more overdue")
        loop.add_reader(ours, ran.append, "io")
        loop.call_soon(ran.append, "soon")
        spin(loop, turns=1)
        loop.remove_reader(ours)
    assert ran == ["soon", "io", "more overdue", "overdue"]


def test_what_a_callback_schedules_waits_for_the_next_turn(loop):
    ran = []
    ours, peer = socket.socketpair()
    with ours, peer:
        peer.send(b"x")
        loop.add_reader(ours, lambda: (ran.append("io"), loop.remove_reader(ours)))
        loop.call_soon(lambda: (ran.append("first"), loop.call_soon(ran.append, "child")))
        loop.call_soon(ran.append, "second")
        spin(loop, turns=2)
    assert ran == ["first", "second", "io", "child"]


def test_one_endless_chain_of_callbacks_starves_neither_io_nor_timers(loop):
    seen = set()
    ours, peer = socket.socketpair()

    def again():
        if seen == {"io", "timer"}:
            loop.stop()
        else:
            loop.call_soon(again)

    with ours, peer:
        loop.add_reader(ours, lambda: (seen.add("io"), ours.recv(1)))
        loop.call_later(0.001, seen.add, "timer")
        loop.call_later(0.002, peer.send, b"x")
        again()
        loop.run_forever()
        loop.remove_reader(ours)
    assert seen == {"io", "timer"}


# ── close ────────────────────────────────────────────────────────────────────────────────────


def test_close_twice(loop):
    loop.close()
    loop.close()
    assert loop.is_closed()
    assert not loop.is_running()


def test_close_drops_pending_callbacks(loop):
    class Target:
        def method(self):
            raise AssertionError("ran")

    target = Target()
    loop.call_soon(target.method)
    loop.call_later(0, target.method)
    loop.call_soon_threadsafe(target.method)
    alive = weakref.ref(target)
    del target
    loop.close()
    gc.collect()
    assert alive() is None


AFTER_CLOSE = {
    "run_forever": lambda loop: loop.run_forever(),
    "run_until_complete": lambda loop: loop.run_until_complete(loop.create_future()),
    "call_soon": lambda loop: loop.call_soon(print),
    "call_soon_threadsafe": lambda loop: loop.call_soon_threadsafe(print),
    "call_later": lambda loop: loop.call_later(1, print),
    "call_at": lambda loop: loop.call_at(1, print),
    "add_reader": lambda loop: loop.add_reader(0, print),
    "add_writer": lambda loop: loop.add_writer(1, print),
    "run_in_executor": lambda loop: loop.run_in_executor(None, print),
    "add_signal_handler": lambda loop: loop.add_signal_handler(10, print),
}


@pytest.mark.parametrize("method", AFTER_CLOSE)
def test_everything_is_refused_after_close(loop, method):
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        AFTER_CLOSE[method](loop)


def test_create_task_is_refused_after_close(loop):
    loop.close()
    coroutine = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.create_task(coroutine)
    coroutine.close()


def test_forgotten_loop_warns(loop_factory):
    loop = loop_factory()
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop
        gc.collect()


def test_no_descriptor_of_the_loop_is_inherited(loop_factory):
    from os import get_inheritable

    from support import open_fds

    before = open_fds()
    loop = loop_factory()
    # Long enough to wait for: what a loop waits with is made when it first does.
    loop.run_until_complete(asyncio.sleep(0.001))
    own = set(open_fds()) - set(before)
    assert own
    assert not [fd for fd in own if get_inheritable(fd)]
    loop.close()


def test_a_forked_child_is_not_in_the_loop(loop_kind):
    """It has no running loop, and may make and run one of its own."""
    done = run_child(
        loop_kind,
        """
        import os, sys

        async def child():
            await asyncio.sleep(0.001)
            return asyncio.get_running_loop()

        async def main():
            asyncio.get_running_loop().call_later(0.001, print, "the parent's timer")
            pid = os.fork()
            if pid == 0:
                assert asyncio._get_running_loop() is None
                loop = new_event_loop()
                assert loop.run_until_complete(child()) is loop
                loop.close()
                print("child", flush=True)
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            await asyncio.sleep(0.01)
            print("parent")

        loop = new_event_loop()
        loop.run_until_complete(main())
        loop.close()
        """,
    )
    assert done.stdout.split("\n")[:-1] == ["child", "the parent's timer", "parent"], done.stderr
