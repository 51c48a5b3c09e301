"""crates/extension: Rust futures on the loop, awaited by Python, and the other way round."""

import asyncio
import contextvars
import gc

import pytest
from extension_support import built, nothing_left_of
from support import Boom, eventually

probe = built("oxloop_probe")
nothing_left = nothing_left_of(probe)
pytestmark = pytest.mark.oxloop_only


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
