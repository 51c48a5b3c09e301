"""crates/extension: Rust futures on the loop, awaited by Python, and the other way round."""

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
import weakref

import pytest
from extension_support import FOLDER, built
from support import Boom, eventually, spin

probe = built("oxloop_probe")
pytestmark = pytest.mark.oxloop_only


@pytest.fixture(autouse=True)
def nothing_left(request):
    """What the module has made is gone when its loop is."""
    before = probe.live()
    yield
    gc.collect()
    assert probe.live() == before


def in_loop(loop, function, *args):
    """Call a function while the loop runs, in the loop's thread."""

    async def call():
        return function(*args)

    return loop.run_until_complete(call())


def test_a_future_is_awaited(run):
    async def main():
        return await probe.spawn_value("value")

    assert run(main()) == "value"


@pytest.mark.parametrize("value", [None, (), (1, 2), StopIteration(1), Boom("no error"), [1]])
def test_any_value_can_be_the_result(run, value):
    async def main():
        return await probe.spawn_value(value), await probe.defer_value([], value, 0)

    assert run(main()) == (value, value)


def test_nothing_is_none(run):
    async def main():
        return await probe.spawn_nothing()

    assert run(main()) is None


def test_an_error_is_raised(run):
    async def main():
        with pytest.raises(Boom, match="from Rust"):
            await probe.fail(Boom("from Rust"))

    run(main())


def test_a_future_runs_without_being_awaited(run):
    async def main():
        future = probe.spawn_value(1)
        assert not future.done()
        await asyncio.sleep(0)
        assert future.done() and not future.cancelled()
        assert future.result() == 1
        assert await future == 1
        assert await future == 1

    run(main())


def test_a_result_that_is_not_there(run):
    async def main():
        future = probe.never(False)
        with pytest.raises(asyncio.InvalidStateError):
            future.result()
        assert future.cancel()
        assert not future.cancel()
        assert future.cancelled() and future.done()
        with pytest.raises(asyncio.CancelledError):
            await future

    run(main())


def test_a_deferred_future_is_polled_inside_the_await(run):
    async def main():
        log = []
        future = probe.defer_value(log, 1, 0)
        await asyncio.sleep(0)
        assert log == []
        turned = []
        asyncio.get_running_loop().call_soon(turned.append, 1)
        assert await future == 1
        assert log == ["polled"]
        assert turned == [], "a future that is ready costs no turn"
        assert await probe.defer_value(log, 2, 3) == 2

    run(main())


def test_a_deferred_future_passes_for_a_coroutine(run):
    async def main():
        assert asyncio.iscoroutine(probe.defer_value([], 1, 0))
        tasks = [asyncio.create_task(probe.defer_value([], number, 2)) for number in range(5)]
        assert await asyncio.gather(*tasks) == [0, 1, 2, 3, 4]

    run(main())


def test_a_deferred_future_that_is_never_awaited(run):
    async def main():
        before = probe.live()
        probe.never(True)
        assert probe.live() == before

    run(main())


def test_sleeping(run):
    async def main():
        values = [probe.slept(0.002 * number, number) for number in range(5)]
        assert await asyncio.gather(*values) == [0, 1, 2, 3, 4]

    run(main())


def test_combinators_of_asyncio(run):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(probe.never(False), 0.01)
        inner = probe.slept(0.02, "whole")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(inner), 0.001)
        assert await inner == "whole"

    run(main())


def test_several_tasks_await_the_same(run):
    async def main():
        future = probe.slept(0.005, "all")

        async def wait():
            return await future

        assert await asyncio.gather(*(wait() for _ in range(3))) == ["all"] * 3

    run(main())


@pytest.mark.parametrize("turns", [0, 1, 3])
def test_cancelling_drops_the_future(run, turns):
    async def main():
        log = []

        async def wait():
            await probe.guarded(log)

        task = asyncio.create_task(wait())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == (["dropped"] if turns else [])

    run(main())


def test_closing_a_coroutine_drops_the_future(run):
    async def main():
        log = []

        async def wait():
            await probe.guarded(log)

        coroutine = wait()
        coroutine.send(None)
        await asyncio.sleep(0)
        assert log == []
        coroutine.close()
        assert log == ["dropped"]

    run(main())


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("deferred", [False, True])
def test_a_panic_is_an_exception(run, waits, deferred):
    async def main():
        with pytest.raises(RuntimeError, match="Rust code has panicked: on purpose"):
            await probe.panics(waits, deferred)

    run(main())


def test_a_panic_in_a_destructor_is_survived(run):
    async def main():
        future = probe.panic_in_drop()
        await asyncio.sleep(0)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future

    run(main())


@pytest.mark.parametrize("dropped", ["before", "after"])
def test_an_error_that_nobody_awaits_is_told(run, errors, dropped):
    async def main():
        future = probe.fail(Boom("unseen"))
        if dropped == "before":
            del future
        await asyncio.sleep(0)

    run(main())
    gc.collect()
    assert "never retrieved" in errors.take_one()["message"]


def test_an_error_that_is_seen_is_not_told(run):
    async def main():
        future = probe.fail(Boom("seen"))
        await asyncio.sleep(0)
        with pytest.raises(Boom):
            future.result()

    run(main())


def test_a_coroutine_is_awaited_in_rust(run):
    async def main():
        async def answer():
            await asyncio.sleep(0.001)
            return 42

        assert await probe.await_python(answer()) == 42
        assert await probe.await_python(asyncio.sleep(0, "ready")) == "ready"

        async def twice(number):
            return number * 2

        assert await probe.await_twice(twice) == (2, 4)

    run(main())


def test_errors_of_python_go_through_rust(run):
    async def main():
        async def fail():
            raise Boom("through")

        with pytest.raises(Boom, match="through"):
            await probe.await_python(fail())
        with pytest.raises(TypeError):
            probe.await_python(5)

    run(main())


def test_cancelling_reaches_what_rust_awaits(run):
    async def main():
        ended = asyncio.get_running_loop().create_future()

        async def wait():
            try:
                await asyncio.sleep(3600)
            finally:
                ended.set_result("ended")

        task = asyncio.ensure_future(probe.await_python(wait()))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await ended == "ended"

    run(main())


def test_a_cancelled_awaitable_is_an_error_in_rust(run):
    async def main():
        future = asyncio.get_running_loop().create_future()
        awaited = probe.await_python(future)
        await asyncio.sleep(0)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await awaited

    run(main())


def test_futures_of_one_thread_wake_each_other(run):
    async def main():
        return await probe.join_in_rust(100)

    assert run(main()) == 100


def test_another_thread_wakes_without_the_interpreter(run):
    async def main():
        return await asyncio.gather(*(probe.woken_by_thread(50) for _ in range(4)))

    assert run(main()) == [50] * 4


@pytest.mark.parametrize("elsewhere", [False, True])
def test_wakers_are_kept_and_used(run, elsewhere):
    async def main():
        parking = probe.Parking()
        futures = [parking.wait() for _ in range(3)]
        await eventually(lambda: len(parking) == 3)
        parking.wake(elsewhere)
        assert await asyncio.gather(*futures) == ["woken"] * 3

    run(main())


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_future_that_nobody_can_wake_is_gone(run, elsewhere):
    async def main():
        parking = probe.Parking()
        before = probe.live()
        future = parking.wait()
        await eventually(lambda: len(parking) == 1)
        del future
        assert probe.live() == before + 1
        parking.forget(elsewhere)
        await eventually(lambda: probe.live() == before)

    run(main())


def test_the_context_is_that_of_the_spawn_or_the_await(run):
    async def main():
        variable = contextvars.ContextVar("variable", default="outside")
        token = variable.set("inside")
        future = probe.context_value(variable, False)
        deferred = probe.context_value(variable, True)
        variable.reset(token)
        assert await future == "inside"
        assert await deferred == "outside"
        variable.set("awaiting")
        assert await probe.context_value(variable, True) == "awaiting"

    run(main())


def test_callbacks(loop):
    called = []

    def begin():
        probe.call_soon(lambda: called.append("soon"), False)
        probe.call_later(0.003, lambda: called.append("later"))
        assert probe.call_later(0.001, lambda: called.append("never")).cancel()

    in_loop(loop, begin)
    loop.run_until_complete(asyncio.sleep(0.01))
    assert called == ["soon", "later"]


def test_a_timer_that_has_run_cannot_be_cancelled(run):
    async def main():
        called = []
        timer = probe.call_later(0, lambda: called.append(1))
        await eventually(lambda: called)
        assert not timer.cancel()

    run(main())


def raise_boom():
    raise Boom("in a callback")


def test_errors_of_callbacks_are_told(loop, errors):
    in_loop(loop, probe.call_soon, raise_boom, False)
    spin(loop)
    assert errors.take_one()["message"] == "Exception in native callback"
    in_loop(loop, probe.call_soon, raise_boom, True)
    spin(loop)
    assert "panicked" in str(errors.take_one(RuntimeError)["exception"])


def test_an_exit_out_of_a_callback_ends_the_run(loop):
    def leave():
        raise SystemExit(3)

    async def main():
        probe.call_soon(leave, False)
        await asyncio.sleep(1)

    with pytest.raises(SystemExit):
        loop.run_until_complete(main())


def test_calls_from_a_thread_keep_their_order(loop):
    posts = in_loop(loop, probe.posts)
    numbers = []

    async def main():
        taken = posts.post(numbers.append, 500)
        await eventually(lambda: len(numbers) == taken)

    loop.run_until_complete(main())
    assert numbers == list(range(500))


def test_calls_from_a_thread_wake_a_sleeping_loop(run):
    async def main():
        loop = asyncio.get_running_loop()
        posts, done = probe.posts(), loop.create_future()

        def post():
            posts.post(lambda number: done.set_result(number), 1)

        thread = threading.Timer(0.02, post)
        thread.start()
        assert await done == 0
        thread.join()

    run(main())


def test_an_exit_keeps_the_calls_behind_it(loop):
    posts = in_loop(loop, probe.posts)
    seen = []

    def note(number):
        seen.append(number)
        if number == 1:
            raise KeyboardInterrupt

    posts.post(note, 4)
    with pytest.raises(KeyboardInterrupt):
        spin(loop)
    assert seen == [0, 1]
    spin(loop)
    assert seen == [0, 1, 2, 3]


def test_posting_to_a_closed_loop(loop):
    posts = in_loop(loop, probe.posts)
    seen = []
    assert posts.post(seen.append, 3) == 3
    assert not posts.is_closed()
    loop.close()
    assert posts.is_closed()
    assert posts.post(seen.append, 3) == 0
    assert seen == []


def close_while_threads_post(loop):
    posts, seen, taken = in_loop(loop, probe.posts), [], []

    def post():
        taken.append(posts.post(seen.append, 200))

    threads = [threading.Thread(target=post) for _ in range(2)]
    for thread in threads:
        thread.start()
    spin(loop)
    loop.close()
    for thread in threads:
        thread.join()
    assert len(seen) <= sum(taken) <= 400


def test_posting_while_the_loop_closes(loop_factory):
    before = probe.live()
    for _ in range(20):
        close_while_threads_post(loop_factory())
    assert probe.live() == before


def test_closing_the_loop_drops_what_waits(loop):
    before, log, parking = probe.live(), [], probe.Parking()
    kept = [
        in_loop(loop, probe.guarded, log),
        in_loop(loop, probe.never, False),
        in_loop(loop, probe.slept, 3600, 1),
        in_loop(loop, parking.wait),
    ]
    in_loop(loop, probe.call_later, 3600, raise_boom)
    spin(loop)
    loop.close()
    assert probe.live() == before
    assert log == ["dropped"]
    assert all(future.cancelled() for future in kept)
    parking.wake(True)


def test_dropping_an_open_loop_drops_what_waits(loop_factory):
    before, log = probe.live(), []
    loop = loop_factory()
    in_loop(loop, probe.guarded, log)
    in_loop(loop, probe.call_later, 3600, raise_boom)
    spin(loop)
    gone = weakref.ref(loop)
    with pytest.warns(ResourceWarning):
        del loop
        gc.collect()
    assert gone() is None
    assert probe.live() == before


def test_a_future_stays_in_its_thread(loop, errors):
    async def main():
        return probe.slept(0.01, 1)

    futures = [loop.run_until_complete(main())]
    loop.run_until_complete(asyncio.sleep(0))
    before = probe.live()

    async def wait():
        await asyncio.sleep(0.02)
        with pytest.raises(RuntimeError, match="another thread"):
            await futures[0]

    thread = threading.Thread(target=loop.run_until_complete, args=(wait(),))
    thread.start()
    thread.join()
    assert probe.live() == before
    # At home again, the future ends when the loop does.
    futures.clear()
    in_loop(loop, probe.posts)
    loop.close()


def test_cycles_through_a_result_are_collected(run):
    async def main():
        holder = []
        future = probe.spawn_value(holder)
        holder.append(future)
        await asyncio.sleep(0)
        return weakref.ref(future)

    gone = run(main())
    gc.collect()
    assert gone() is None


def test_there_is_no_loop():
    with pytest.raises(RuntimeError, match="no running event loop"):
        probe.spawn_value(1)


def test_a_loop_that_is_not_oxloops():
    async def main():
        with pytest.raises(TypeError, match=r"not oxloop's, but a asyncio\.unix_events"):
            probe.spawn_value(1)

    loop = asyncio.SelectorEventLoop()
    loop.run_until_complete(main())
    loop.close()


def test_debug_mode(loop):
    loop.set_debug(True)

    async def main():
        assert await probe.spawn_value(1) == 1
        assert await probe.slept(0.001, 2) == 2
        assert await probe.woken_by_thread(3) == 3

    loop.run_until_complete(main())


SCRIPT = """
import asyncio, ctypes, sys
sys.path.insert(0, sys.argv[1])
from oxloop import _oxloop
{change}
import oxloop_probe
async def main():
    try:
        oxloop_probe.spawn_value(1)
    except ImportError as error:
        print(error)
import oxloop
oxloop.run(main())
"""
ANOTHER_VERSION = """
class Table(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("size", ctypes.c_size_t)]
table, name = Table(99, 4096), b"oxloop._oxloop._C_API"
make = ctypes.pythonapi.PyCapsule_New
make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_oxloop._C_API = make(ctypes.addressof(table), name, None)
"""


@pytest.mark.parametrize(
    "change, message",
    [
        (ANOTHER_VERSION, "oxloop has version 99 of its table"),
        ("del _oxloop._C_API", "oxloop cannot be used from Rust: "),
    ],
)
def test_another_version_of_the_table_is_refused(change, message):
    command = [sys.executable, "-c", SCRIPT.format(change=change), FOLDER]
    child = subprocess.run(command, capture_output=True, text=True, timeout=25)
    assert child.stdout.startswith(message), child.stdout + child.stderr
    assert child.returncode == 0


def test_many_futures_come_and_go(run):
    async def main():
        for _ in range(20):
            futures = [probe.slept(0, number) for number in range(50)]
            assert await asyncio.gather(*futures) == list(range(50))

    run(main())
