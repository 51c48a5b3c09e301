"""crates/extension: callbacks, other threads, the end of a loop, and which loops and tables do."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref

import pytest
from extension_support import FOLDER, built, nothing_left_of
from support import Boom, eventually, spin

probe = built("oxloop_probe")
nothing_left = nothing_left_of(probe)
pytestmark = pytest.mark.oxloop_only


def in_loop(loop, function, *args):
    """Call a function while the loop runs, in the loop's thread."""

    async def call():
        return function(*args)

    return loop.run_until_complete(call())


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


def test_what_a_callback_held_is_dropped_with_it(run):
    class Callback:
        def __call__(self):
            pass

    async def main(wait):
        callback = Callback()
        alive = weakref.ref(callback)
        probe.call_soon(callback, False)
        del callback
        if wait:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert alive() is None
        return alive

    run(main(True))
    assert run(main(False))() is None
