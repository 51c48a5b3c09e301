"""What a loop costs without a network. Run by run.py: ``loop_scenarios.py NAME FACTORY SECONDS``.

Each coroutine below performs COUNT operations; its docstring says what one is.
"""

import asyncio
import json
import sys
import time
from asyncio import AbstractEventLoop, sleep
from collections.abc import Callable

from child import LoopFactory, limit_lifetime, load_factory

COUNT = 1000
TASKS = 10


async def call_soon(loop: AbstractEventLoop) -> None:
    """A callback that schedules itself: a turn of the loop with one callback in it."""
    done = loop.create_future()

    def again(left: int) -> None:
        if left:
            loop.call_soon(again, left - 1)
        else:
            done.set_result(None)

    loop.call_soon(again, COUNT - 1)
    await done


async def call_soon_batch(loop: AbstractEventLoop) -> None:
    """One of a thousand callbacks that run in the same turn."""
    for number in range(COUNT):
        loop.call_soon(_nothing, number)
    await sleep(0)


async def call_later_cancel(loop: AbstractEventLoop) -> None:
    """A timer that is cancelled before its time, as timeouts mostly are."""
    for number in range(COUNT):
        loop.call_later(60, _nothing, number).cancel()


async def task_switch(_: AbstractEventLoop) -> None:
    """A step of a task: ``sleep(0)`` in one of ten that take turns."""

    async def yield_often() -> None:
        for _ in range(COUNT // TASKS):
            await sleep(0)

    await asyncio.gather(*(yield_often() for _ in range(TASKS)))


async def create_task(loop: AbstractEventLoop) -> None:
    """A task that is made, run and awaited; ten at a time."""

    async def finish_at_once() -> None:
        pass

    for _ in range(COUNT // TASKS):
        for task in [loop.create_task(finish_at_once()) for _ in range(TASKS)]:
            await task


def _nothing(_: int) -> None:
    pass


COROUTINES = (call_soon, call_soon_batch, call_later_cancel, task_switch, create_task)
SCENARIOS = {function.__name__: function for function in COROUTINES}
#: As a reader would say it.
TITLES = {
    "call_soon": "call_soon, one callback a turn",
    "call_soon_batch": "call_soon, 1000 callbacks a turn",
    "call_later_cancel": "call_later and cancel",
    "task_switch": "task switch, sleep(0)",
    "create_task": "create_task and await",
}
#: The scenario that is no coroutine: a loop is made and closed.
CREATE_LOOP = "create_loop"


def measure(once: Callable[[], None], count: int, seconds: float) -> dict[str, float]:
    """Repeat, after once to warm up: operations done and CPU seconds of the process."""
    once()
    operations = 0
    end = time.monotonic() + seconds
    before = time.process_time()
    while time.monotonic() < end:
        once()
        operations += count
    return {"operations": operations, "cpu": time.process_time() - before}


def measure_scenario(name: str, make_loop: LoopFactory, seconds: float) -> dict[str, float]:
    if name == CREATE_LOOP:
        return measure(lambda: make_loop().close(), 1, seconds)
    loop = make_loop()
    return measure(lambda: loop.run_until_complete(SCENARIOS[name](loop)), COUNT, seconds)


if __name__ == "__main__":
    limit_lifetime(float(sys.argv[3]))
    print(json.dumps(measure_scenario(sys.argv[1], load_factory(sys.argv[2]), float(sys.argv[3]))))
