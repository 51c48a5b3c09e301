"""What count.py counts. Run by it, under callgrind: ``hot_paths.py NAME...``.

Each path performs its operations twice: once to fill the free lists and to warm the connection up,
once between two calls of ``os.sched_yield``, at which callgrind begins another part of its output.

What a path does may not depend on how fast the machine is, since callgrind makes it fifty times
slower. So callbacks come a hundred and more to a turn, which is polled however fast it is, or one
that takes longer than the budget of polls; and servers have one connection with one request in
flight.
"""

import asyncio
import gc
import os
import subprocess
import sys
import time
from asyncio import AbstractEventLoop, Future, sleep
from collections.abc import Awaitable, Callable
from pathlib import Path
from socket import create_server
from typing import NamedTuple

from echo_server import CHUNK, Echo, tls_context
from loop_scenarios import COUNT, call_later_cancel, call_soon_batch

import oxloop

PEER = Path(__file__).with_name("hot_paths_peer.py")
mark = os.sched_yield

# ---- The loop by itself. Each coroutine performs COUNT operations, or TURNS. ----

TASKS = 100
#: Turns that are polled: a callback takes longer than the budget, in seconds.
TURNS, LONG = 200, 100e-6


async def turn(loop: AbstractEventLoop) -> None:
    """A callback that schedules itself, in a turn with a look at the clock and a poll."""
    done = loop.create_future()

    def again(left: int) -> None:
        time.sleep(LONG)
        if left:
            loop.call_soon(again, left - 1)
        else:
            done.set_result(None)

    loop.call_soon(again, TURNS - 1)
    await done


async def timer_fires(loop: AbstractEventLoop) -> None:
    """A timer that is made, becomes due and runs its callback."""
    done = loop.create_future()
    for number in range(COUNT - 1):
        loop.call_later(0, _nothing, number)
    loop.call_later(0, done.set_result, None)
    await done


async def task_step(loop: AbstractEventLoop) -> None:
    """``sleep(0)`` in one of many tasks that take turns."""

    async def yield_often() -> None:
        for _ in range(COUNT // TASKS):
            await sleep(0)

    for task in [loop.create_task(yield_often()) for _ in range(TASKS)]:
        await task


async def task_wakeup(loop: AbstractEventLoop) -> None:
    """A task that is made, waits for a future, is woken, and is awaited."""

    async def wait_for_it(future: Future[None]) -> None:
        await future

    futures = [loop.create_future() for _ in range(COUNT)]
    tasks = [loop.create_task(wait_for_it(future)) for future in futures]
    await sleep(0)
    for future in futures:
        future.set_result(None)
    for task in tasks:
        await task


def _nothing(_: int) -> None:
    pass


# ---- Servers. ----

REQUESTS = 300


class Counter:
    """Marks where the requests that count begin and end."""

    def __init__(self, done: Future[None]) -> None:
        self.left = 2 * REQUESTS
        self.done = done

    def request(self) -> None:
        if self.left == REQUESTS:
            mark()
        elif not self.left:
            mark()
            self.done.set_result(None)
        self.left -= 1


async def serve_protocol(loop: AbstractEventLoop, size: int, tls: bool = False) -> None:
    """``asyncio.Protocol``, over TCP or TLS."""
    counter = Counter(loop.create_future())

    class Counted(Echo):
        def data_received(self, data: bytes) -> None:
            counter.request()
            super().data_received(data)

    listener = create_server(("127.0.0.1", 0))
    context = tls_context() if tls else None
    server = await loop.create_server(Counted, sock=listener, ssl=context)
    await _until_counted(counter, server, size, tls)


async def serve_streams(loop: AbstractEventLoop, size: int, by_line: bool = False) -> None:
    """``StreamReader`` and ``StreamWriter``: read or readline, write, drain."""
    counter = Counter(loop.create_future())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await (reader.readline() if by_line else reader.read(CHUNK)):
            counter.request()
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, sock=create_server(("127.0.0.1", 0)))
    await _until_counted(counter, server, size, tls=False)


async def _until_counted(counter: Counter, server: asyncio.Server, size: int, tls: bool) -> None:
    """Have a process of its own talk to the server."""
    port = server.sockets[0].getsockname()[1]
    command = [sys.executable, str(PEER), str(port), str(size), "tls" if tls else "tcp"]
    with subprocess.Popen(command) as peer:
        await counter.done
        peer.kill()
    server.close()


# ---- All of them. ----


class HotPath(NamedTuple):
    """Operations that are marked by `run`, or once around all of it."""

    title: str
    operations: int
    run: Callable[[AbstractEventLoop], Awaitable[None]]
    marks: bool = False


def server(title: str, run: Callable[[AbstractEventLoop], Awaitable[None]]) -> HotPath:
    return HotPath(title, REQUESTS, run, marks=True)


HOT_PATHS = {
    "call_soon": HotPath("call_soon and its callback", COUNT, call_soon_batch),
    "turn": HotPath("a turn with a poll and one callback", TURNS, turn),
    "timer_cancel": HotPath("call_later and cancel", COUNT, call_later_cancel),
    "timer_fires": HotPath("call_later and its callback", COUNT, timer_fires),
    "task_step": HotPath("a step of a task, sleep(0)", COUNT, task_step),
    "task_wakeup": HotPath("a task that is made, woken and awaited", COUNT, task_wakeup),
    "echo": server("protocol, echo of 64 B", lambda loop: serve_protocol(loop, 64)),
    "streams_echo": server("streams, echo of 64 B", lambda loop: serve_streams(loop, 64)),
    "streams_line": server("streams, readline, 64 B", lambda loop: serve_streams(loop, 64, True)),
    "tls_echo": server("TLS, echo of 1 KiB", lambda loop: serve_protocol(loop, 1024, True)),
}


async def perform(loop: AbstractEventLoop, path: HotPath) -> None:
    if path.marks:
        await path.run(loop)
        return
    await path.run(loop)
    mark()
    await path.run(loop)
    mark()


def main() -> None:
    gc.disable()
    loop = oxloop.new_event_loop()
    for name in sys.argv[1:]:
        loop.run_until_complete(perform(loop, HOT_PATHS[name]))
    # Without an end of the interpreter, which would take longer than a path.
    os._exit(0)


if __name__ == "__main__":
    main()
