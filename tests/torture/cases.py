"""What a torture case is: a function that gets a `Torture`, and the limits it runs under.

A case runs in a process of its own. It fails when it raises, when the process dies or is still
there after its time, and when it leaves a descriptor, a thread or a child behind, or something in
the exception handler or in `sys.unraisablehook` that it has not asked for.
"""

import asyncio
import contextlib
import gc
import importlib
import os
import random
import sys
import threading
import time
import tracemalloc
import warnings
from dataclasses import dataclass, field

from support import ErrorLog, open_fds

MIB = 1 << 20
CASES = {}


@dataclass(frozen=True)
class Case:
    """A function and its limits; `inject` is what strace is to make fail, `left_out` why this
    interpreter cannot be asked for it."""

    name: str
    run: callable
    seconds: int
    memory: int
    fds: int
    inject: tuple = ()
    only_full: bool = False
    left_out: str | None = None


def case(
    seconds=20, memory=1024 * MIB, fds=256, inject=(), only_full=False, name=None, left_out=None
):
    """Registers a function as a case. The full form has ten times the seconds."""

    def register(run):
        short = run.__module__.removeprefix("case_")
        full = f"{short}.{name or run.__name__}"
        assert full not in CASES
        CASES[full] = Case(full, run, seconds, memory, fds, tuple(inject), only_full, left_out)
        return run

    return register


@dataclass
class Torture:
    """What a case works with."""

    full: bool
    seed: int
    loop_kind: str
    figures: dict = field(default_factory=dict)
    errors: ErrorLog = field(default_factory=ErrorLog)
    unraisable: list = field(default_factory=list)

    def __post_init__(self):
        self.random = random.Random(self.seed)
        self.new_event_loop = importlib.import_module(self.loop_kind).new_event_loop
        self.deadline = time.monotonic() + (100 if self.full else 5)

    def scale(self, quick, full):
        return full if self.full else quick

    def count(self, what, amount=1):
        """Adds to a figure of the report."""
        self.figures[what] = self.figures.get(what, 0) + amount

    def figure_max(self, what, amount):
        self.figures[what] = max(self.figures.get(what, amount), amount)

    @contextlib.contextmanager
    def loop(self):
        """A loop that is closed afterwards and was usable until then."""
        loop = self.new_event_loop()
        loop.set_exception_handler(self.errors)
        try:
            yield loop
            check_usable(loop)
        finally:
            if not loop.is_closed():
                loop.close()

    def run(self, main):
        """Runs `main(loop)` on a loop of its own."""
        with self.loop() as loop:
            return loop.run_until_complete(main(loop))

    def take_unraisable(self):
        taken, self.unraisable = self.unraisable, []
        return taken


def check_usable(loop):
    """The loop still does everything once."""
    assert not loop.is_running()
    assert asyncio._get_running_loop() is None
    seen = []
    loop.call_soon(seen.append, "soon")
    loop.call_later(0.001, seen.append, "later")
    threading.Thread(target=loop.call_soon_threadsafe, args=(seen.append, "thread")).start()

    async def wait():
        while len(seen) < 3:
            await asyncio.sleep(0.001)

    loop.run_until_complete(asyncio.wait_for(wait(), 10))
    assert sorted(seen) == ["later", "soon", "thread"]


class Census:
    """What the process has: descriptors, threads, children."""

    def __init__(self):
        gc.collect()
        self.fds = open_fds()
        self.threads = threading.active_count()

    def check(self):
        for _ in range(3):
            gc.collect()
        wait_until(lambda: threading.active_count() <= self.threads)
        left = {fd: name for fd, name in open_fds().items() if self.fds.get(fd) != name}
        assert not left, f"descriptors are left: {left}"
        assert threading.active_count() <= self.threads, threading.enumerate()
        with contextlib.suppress(ChildProcessError):
            pid, _ = os.waitpid(-1, os.WNOHANG)
            raise AssertionError(f"a child is left: {pid or 'it still runs'}")


def wait_until(predicate, seconds=5):
    end = time.monotonic() + seconds
    while not predicate() and time.monotonic() < end:
        time.sleep(0.01)


def resident():
    """Bytes of memory that the process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


WINDOWS = 12


class Growth:
    """Whether something grows with its rounds: windows of rounds are looked at until there is one
    in which next to nothing was added.

    The interpreter's own caches fill up for a while; what leaks a block or more a round leaks in
    every window.
    """

    def __init__(self, rounds):
        self.rounds, self.seen = rounds, []
        self.blocks, self.bytes = self.measure()

    def measure(self):
        gc.collect()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            # The interpreter's cache of lookups keeps thousands of names.
            clear = getattr(sys, "_clear_type_cache", None) or sys._clear_internal_caches
            clear()
        return sys.getallocatedblocks(), resident()

    def is_over(self):
        """After each window: True when it has come to rest; AssertionError when it does not."""
        blocks, bytes_ = self.measure()
        self.seen.append((blocks - self.blocks, bytes_ - self.bytes))
        self.blocks, self.bytes = blocks, bytes_
        added, pages = self.seen[-1]
        if added <= max(2, self.rounds / 8) and pages <= self.rounds * 64:
            return True
        assert len(self.seen) < WINDOWS, f"blocks, bytes a {self.rounds} rounds: {self.seen}"
        return False


def check_growth(step, rounds):
    """Calls `step` until nothing is added by so many rounds."""
    growth = Growth(rounds)
    while True:
        for _ in range(rounds):
            step()
        if growth.is_over():
            return


def trace_growth(step, warm_up, rounds):
    """The largest growing lines, for whoever looks for a leak that `growth` has found."""
    for _ in range(warm_up):
        step()
    tracemalloc.start(10)
    before = tracemalloc.take_snapshot()
    for _ in range(rounds):
        step()
    gc.collect()
    return tracemalloc.take_snapshot().compare_to(before, "lineno")[:5]
