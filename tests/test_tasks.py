"""Tasks: factories, contexts, names, eager start, third-party tasks, the stock C task."""

import asyncio
import contextvars
import inspect
import subprocess
import sys

import pytest
from support import Boom, child_command, since, spin

VAR = contextvars.ContextVar("VAR", default="unset")


async def value(result=None):
    await asyncio.sleep(0)
    return result


def test_create_task_gives_asyncios_task(loop, run):
    task = loop.create_task(value(42), name="mine")
    assert type(task) is asyncio.Task
    assert task.get_name() == "mine" and task.get_loop() is loop
    assert run(task) == 42


def test_tasks_start_in_order(loop, run):
    started = []

    async def note(number):
        started.append(number)

    for number in range(10):
        loop.create_task(note(number))
    spin(loop, turns=1)
    assert started == list(range(10))


def test_tasks_and_callbacks_share_one_queue(loop):
    ran = []

    async def note(what):
        ran.append(what)

    loop.call_soon(ran.append, 1)
    loop.create_task(note(2))
    loop.call_soon(ran.append, 3)
    spin(loop, turns=1)
    assert ran == [1, 2, 3]


def test_sleep_zero_yields_one_turn(loop, run):
    ran = []

    async def worker(name):
        for step in range(3):
            ran.append((name, step))
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(worker("a"), worker("b"))

    run(main())
    assert ran == [(name, step) for step in range(3) for name in "ab"]


def test_create_task_refuses_what_is_no_coroutine(loop):
    with pytest.raises(TypeError):
        loop.create_task(value)
    with pytest.raises(TypeError):
        loop.create_task(None)


# ── contexts ─────────────────────────────────────────────────────────────────────────────────


def test_each_task_has_a_copy_of_the_context(loop, run):
    async def child():
        seen = VAR.get()
        VAR.set("child")
        await asyncio.sleep(0)
        return seen, VAR.get()

    async def main():
        VAR.set("parent")
        return await loop.create_task(child()), VAR.get()

    assert run(main()) == (("parent", "child"), "parent")
    assert VAR.get() == "unset"


def test_create_task_with_a_context(loop, run):
    context = contextvars.copy_context()

    async def change():
        await asyncio.sleep(0)
        VAR.set("inside")

    async def main():
        await loop.create_task(change(), context=context)

    run(main())
    assert context[VAR] == "inside" and VAR.get() == "unset"


@pytest.mark.asyncio_wrong("the task never ends", until=(3, 15), strict=False)
def test_what_is_no_context_is_refused(loop, errors):
    coroutine = value()

    def make():
        loop.create_task(coroutine, context=5)._log_destroy_pending = False

    try:
        with pytest.raises(TypeError):
            make()
    finally:
        spin(loop)
        coroutine.close()
        errors.take()


# ── factories ────────────────────────────────────────────────────────────────────────────────


def test_a_factory_gets_the_loop_and_the_coroutine(loop, run):
    calls = []

    def factory(loop, coro, **kwargs):
        calls.append((loop, kwargs))
        return asyncio.Task(coro, loop=loop, **kwargs)

    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    assert run(value(1)) == 1
    assert calls[0][0] is loop
    loop.set_task_factory(None)
    assert loop.get_task_factory() is None


@since(3, 13, 3)
@pytest.mark.parametrize(
    "kwargs", [{}, {"name": "mine"}, {"context": contextvars.copy_context()}], ids=str
)
def test_a_factory_gets_the_keywords_of_its_caller_only(loop, run, kwargs):
    calls = []

    def factory(loop, coro, **kwargs):
        calls.append(kwargs)
        return asyncio.Task(coro, loop=loop, **kwargs)

    loop.set_task_factory(factory)
    run(loop.create_task(value(), **kwargs))
    assert calls == [kwargs]


def test_a_factory_of_two_arguments_works(loop, run):
    loop.set_task_factory(lambda loop, coro: asyncio.Task(coro, loop=loop))
    assert run(value(5)) == 5
    assert run(loop.create_task(value(6))) == 6


def test_a_factory_may_return_another_kind(loop, run):
    class Mine(asyncio.Task):
        pass

    loop.set_task_factory(lambda loop, coro, **kwargs: Mine(coro, loop=loop, **kwargs))
    assert type(loop.create_task(value())) is Mine
    spin(loop)


@pytest.mark.parametrize("factory", [5, "text", object()])
def test_a_factory_that_cannot_be_called_is_refused(loop, factory):
    with pytest.raises(TypeError):
        loop.set_task_factory(factory)


@since(3, 12)
def test_eager_tasks(loop, run):
    ran = []

    async def note():
        ran.append("started")
        await asyncio.sleep(0)
        ran.append("ended")

    async def main():
        task = loop.create_task(note())
        assert ran == ["started"]
        done = loop.create_task(immediate())
        assert done.done() and done.result() == 7
        await task

    async def immediate():
        return 7

    loop.set_task_factory(asyncio.eager_task_factory)
    run(main())
    assert ran == ["started", "ended"]


@since(3, 14)
def test_create_task_passes_eager_start(loop, run):
    async def immediate():
        return 7

    async def main():
        assert loop.create_task(immediate(), eager_start=True).done()
        task = loop.create_task(immediate(), eager_start=False)
        assert not task.done()
        await task

    run(main())


# ── the running task ─────────────────────────────────────────────────────────────────────────


def test_current_and_all_tasks(loop, run):
    async def main():
        task = asyncio.current_task()
        assert asyncio.all_tasks() == {task}
        other = loop.create_task(value())
        assert asyncio.all_tasks() == {task, other}
        await other
        return task

    task = loop.create_task(main())
    assert run(task) is task
    assert asyncio.all_tasks(loop) == set()


class Foreign:
    """A task of a third party: anything with a coroutine that registers itself."""

    def __init__(self, coro, loop):
        self.coro, self.loop = coro, loop
        self.result = loop.create_future()
        asyncio._register_task(self)
        loop.call_soon(self.step)

    def get_loop(self):
        return self.loop

    def done(self):
        return self.result.done()

    def step(self):
        asyncio._enter_task(self.loop, self)
        try:
            waiting = self.coro.send(None)
        except StopIteration as exc:
            self.result.set_result(exc.value)
            asyncio._unregister_task(self)
        else:
            if waiting is None:
                self.loop.call_soon(self.step)
            else:
                waiting._asyncio_future_blocking = False
                waiting.add_done_callback(lambda future: self.step())
        finally:
            asyncio._leave_task(self.loop, self)


def test_third_party_tasks(loop, run):
    async def work():
        current = asyncio.current_task()
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        assert asyncio.current_task() is current
        return current

    async def main():
        foreign = Foreign(work(), loop)
        assert foreign in asyncio.all_tasks()
        assert await foreign.result is foreign
        assert foreign not in asyncio.all_tasks()

    run(main())


def test_a_stock_task_is_refused_inside_another(loop, run):
    async def main():
        task = loop.create_task(value())
        with pytest.raises(RuntimeError, match="Cannot enter into task"):
            asyncio._enter_task(loop, task)
        await task

    run(main())


@since(3, 12)
def test_third_party_eager_tasks(loop, run):
    class Eager:
        def get_loop(self):
            return loop

        def done(self):
            return False

    async def main():
        eager = Eager()
        asyncio.tasks._register_eager_task(eager)
        assert eager in asyncio.all_tasks()
        asyncio.tasks._unregister_eager_task(eager)
        assert eager not in asyncio.all_tasks()

    run(main())


@since(3, 12)
def test_swap_current_task(loop, run):
    async def main():
        current = asyncio.current_task()
        other = loop.create_task(value())
        assert asyncio.tasks._swap_current_task(loop, other) is current
        assert asyncio.current_task() is other
        assert asyncio.tasks._swap_current_task(loop, current) is other
        await other

    run(main())


def test_run_until_complete_marks_its_callback(loop, run):
    """anyio looks for asyncio's own callback to find the root task."""

    async def main():
        callbacks = asyncio.current_task()._callbacks
        return [callback for callback, _ in callbacks]

    assert asyncio.base_events._run_until_complete_cb in run(main())


@since(3, 14)
def test_call_graph(loop, run):
    async def inner():
        return asyncio.capture_call_graph()

    async def main():
        graph = await inner()
        assert graph.future is asyncio.current_task()
        names = [entry.frame.f_code.co_name for entry in graph.call_stack]
        assert names[-2:] == ["inner", "main"] or names[:2] == ["inner", "main"]

    run(main())


@since(3, 14)
@pytest.mark.parametrize("command", ["ps", "pstree"])
def test_the_tasks_of_another_process(loop_kind, command):
    """`python -m asyncio ps PID` finds the tasks of a loop of ours."""
    child = subprocess.Popen(
        child_command(
            loop_kind,
            """
            async def wait_for_ever():
                print("ready", flush=True)
                await asyncio.sleep(1000)

            async def main():
                await asyncio.create_task(wait_for_ever(), name="the waiter")

            asyncio.run(main(), loop_factory=new_event_loop)
            """,
        ),
        stdout=subprocess.PIPE,
    )
    with child:
        try:
            child.stdout.readline()
            look = [sys.executable, "-m", "asyncio", command, str(child.pid)]
            seen = subprocess.run(look, capture_output=True, text=True, timeout=20)
        finally:
            child.kill()
    if "ermission" in seen.stderr:
        pytest.skip("this system lets no process look into another")
    assert seen.returncode == 0, seen.stderr
    assert "the waiter" in seen.stdout and "wait_for_ever" in seen.stdout


# ── asyncio's tools on top ───────────────────────────────────────────────────────────────────


def test_cancelling(loop, run):
    async def forever():
        try:
            await loop.create_future()
        finally:
            await asyncio.sleep(0)

    async def main():
        task = loop.create_task(forever())
        await asyncio.sleep(0)
        task.cancel("because")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run(main())


def test_timeouts_and_task_groups(loop, run):
    async def fail():
        await asyncio.sleep(0)
        raise Boom

    async def group_that_fails():
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            group.create_task(asyncio.sleep(3600))

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.sleep(3600)
        with pytest.raises(ExceptionGroup):
            await group_that_fails()

    run(main())


def test_a_chain_of_ten_thousand_tasks(loop, run):
    async def link(before):
        return await before + 1

    async def main():
        last = loop.create_future()
        first = last
        for _ in range(10_000):
            last = loop.create_task(link(last))
        first.set_result(0)
        return await last

    assert run(main()) == 10_000


def test_coroutine_objects_are_not_left_unawaited(loop, run):
    coroutine = value()
    task = loop.create_task(coroutine)
    run(task)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
