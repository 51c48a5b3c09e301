"""What a loop costs without a network. Run by run.py: ``loop_scenarios.py NAME FACTORY SECONDS``.

Each function below prepares one scenario and returns its batch: a function that performs some
operations and says how many. The docstring says what one operation is.
"""

import asyncio
import json
import sys
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from typing import Any

from child import LoopFactory, limit_lifetime, load_factory

OPERATIONS = 1000
TASKS = 10

Batch = Callable[[], int]


def call_soon(make_loop: LoopFactory) -> Batch:
    """A callback that schedules itself: a turn of the loop with one callback in it."""
    loop = make_loop()

    def again(left: int) -> None:
        if left:
            loop.call_soon(again, left - 1)
        else:
            loop.stop()

    def batch() -> int:
        loop.call_soon(again, OPERATIONS - 1)
        loop.run_forever()
        return OPERATIONS

    return batch


def call_soon_batch(make_loop: LoopFactory) -> Batch:
    """One of a thousand callbacks that run in the same turn."""
    loop = make_loop()

    def batch() -> int:
        for number in range(OPERATIONS):
            loop.call_soon(_nothing, number)
        loop.call_soon(loop.stop)
        loop.run_forever()
        return OPERATIONS

    return batch


def call_later_cancel(make_loop: LoopFactory) -> Batch:
    """A timer that is cancelled before its time, as timeouts mostly are."""
    loop = make_loop()

    async def set_and_cancel() -> None:
        for number in range(OPERATIONS):
            loop.call_later(60, _nothing, number).cancel()

    return _repeat(loop, set_and_cancel, OPERATIONS)


def task_switch(make_loop: LoopFactory) -> Batch:
    """A step of a task: ``sleep(0)`` in one of ten that take turns."""
    loop = make_loop()

    async def yield_often() -> None:
        for _ in range(OPERATIONS // TASKS):
            await asyncio.sleep(0)

    async def take_turns() -> None:
        await asyncio.gather(*(yield_often() for _ in range(TASKS)))

    return _repeat(loop, take_turns, OPERATIONS)


def create_task(make_loop: LoopFactory) -> Batch:
    """A task that is made, run and awaited; ten at a time."""
    loop = make_loop()

    async def finish_at_once() -> None:
        pass

    async def make_and_await() -> None:
        for _ in range(OPERATIONS // TASKS):
            tasks = [loop.create_task(finish_at_once()) for _ in range(TASKS)]
            for task in tasks:
                await task

    return _repeat(loop, make_and_await, OPERATIONS)


def create_loop(make_loop: LoopFactory) -> Batch:
    """A loop that is made and closed."""

    def batch() -> int:
        for _ in range(TASKS):
            make_loop().close()
        return TASKS

    return batch


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        call_soon,
        call_soon_batch,
        call_later_cancel,
        task_switch,
        create_task,
        create_loop,
    )
}


def _nothing(_: int) -> None:
    pass


def _repeat(
    loop: AbstractEventLoop, main: Callable[[], Coroutine[Any, Any, None]], operations: int
) -> Batch:
    def batch() -> int:
        loop.run_until_complete(main())
        return operations

    return batch


def measure(batch: Batch, seconds: float) -> dict[str, float]:
    """Repeat a batch, after one to warm up: operations done and CPU seconds of the process."""
    batch()
    operations = 0
    end = time.monotonic() + seconds
    before = time.process_time()
    while time.monotonic() < end:
        operations += batch()
    return {"operations": operations, "cpu": time.process_time() - before}


def main() -> None:
    name, factory, seconds = sys.argv[1:]
    limit_lifetime(float(seconds))
    print(json.dumps(measure(SCENARIOS[name](load_factory(factory)), float(seconds))))


if __name__ == "__main__":
    main()
