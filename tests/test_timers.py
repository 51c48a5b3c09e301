"""Timers: order, equal and overdue deadlines, never early, odd numbers, patched clocks."""

import asyncio
import math
import random
import time

import pytest
from support import spin

RESOLUTION = time.get_clock_info("monotonic").resolution


def test_time_is_the_monotonic_clock(loop):
    before, now, after = time.monotonic(), loop.time(), time.monotonic()
    assert before <= now <= after


def test_timers_fire_in_order_of_deadline(loop):
    ran = []
    base = loop.time()
    deadlines = [base + number / 100_000 for number in range(500)]
    shuffled = deadlines[:]
    random.Random(1).shuffle(shuffled)
    for when in shuffled:
        loop.call_at(when, ran.append, when)
    loop.call_at(base + 0.02, loop.stop)
    loop.run_forever()
    assert ran == deadlines


def test_overdue_timers_fire_in_order_of_deadline(loop):
    ran = []
    for delay in (-1, -3, 0, -2):
        loop.call_later(delay, ran.append, delay)
    spin(loop, turns=1)
    assert ran == [-3, -2, -1, 0]


@pytest.mark.asyncio_wrong("the heap does not keep the order of equal deadlines")
def test_equal_deadlines_are_fifo(loop):
    ran = []
    when = loop.time()
    for number in range(100):
        loop.call_at(when, ran.append, number)
    spin(loop, turns=1)
    assert ran == list(range(100))


def test_a_timer_never_fires_early(loop, run):
    early = []

    def check(when):
        if loop.time() < when - RESOLUTION:
            early.append(when - loop.time())

    async def main():
        for number in range(200):
            when = loop.time() + number * 0.000_037
            loop.call_at(when, check, when)
        await asyncio.sleep(0.02)

    run(main())
    assert early == []


@pytest.mark.parametrize("delay", [0.000_01, 0.000_1, 0.000_7, 0.002_5])
def test_short_sleeps_last_their_time(loop, run, delay):
    async def main():
        for _ in range(10):
            start = loop.time()
            await asyncio.sleep(delay)
            assert loop.time() - start >= delay - RESOLUTION

    run(main())


def test_zero_and_negative_delays_wait_for_the_next_turn(loop):
    ran = []

    def first():
        loop.call_later(0, ran.append, "zero")
        loop.call_later(-5, ran.append, "negative")
        loop.call_soon(ran.append, "soon")
        ran.append("first")

    loop.call_soon(first)
    spin(loop, turns=1)
    assert ran == ["first"]
    spin(loop, turns=1)
    assert ran == ["first", "soon", "negative", "zero"]


def test_a_timer_made_by_a_timer_waits_for_the_next_turn(loop):
    ran = []
    loop.call_later(-1, lambda: (ran.append("outer"), loop.call_later(-2, ran.append, "inner")))
    loop.call_later(-0.5, ran.append, "other")
    spin(loop, turns=1)
    assert ran == ["outer", "other"]
    spin(loop, turns=1)
    assert ran == ["outer", "other", "inner"]


def test_most_timers_cancelled_the_rest_still_fire(loop):
    ran = []
    base = loop.time() - 10
    handles = [loop.call_at(base + n / 10_000, ran.append, n) for n in range(10_000)]
    for number, handle in enumerate(handles):
        if number % 100:
            handle.cancel()
    spin(loop, turns=1)
    assert ran == list(range(0, 10_000, 100))


def test_an_earlier_timer_set_later_fires_first(loop, run):
    ran = []

    async def main():
        loop.call_later(0.02, ran.append, "late")
        await asyncio.sleep(0)
        loop.call_later(0.001, ran.append, "early")
        await asyncio.sleep(0.03)

    run(main())
    assert ran == ["early", "late"]


def test_timers_left_from_a_run_fire_in_the_next(loop, run):
    ran = []
    loop.call_later(0.001, ran.append, 1)
    spin(loop, turns=1)
    time.sleep(0.002)
    spin(loop, turns=1)
    assert ran == [1]


# ── numbers ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio_wrong("a nan deadline is taken, and corrupts the order of the heap")
@pytest.mark.parametrize("method", ["call_later", "call_at"])
def test_nan_is_refused(loop, method):
    with pytest.raises(ValueError):
        getattr(loop, method)(math.nan, print)


@pytest.mark.parametrize("value", ["1", b"1", [], object(), None])
def test_a_delay_that_is_no_number_is_refused(loop, value):
    with pytest.raises(TypeError):
        loop.call_later(value, print)


@pytest.mark.asyncio_wrong("only the comparison with another deadline fails, in the turn")
@pytest.mark.parametrize("value", ["1", b"1", [], object(), 1j])
def test_a_deadline_that_is_no_number_is_refused(loop, value):
    try:
        with pytest.raises(TypeError):
            loop.call_at(value, print)
    finally:
        loop.close()


def test_a_deadline_of_none_is_refused(loop):
    with pytest.raises(TypeError):
        loop.call_at(None, print)


@pytest.mark.parametrize("value", [0, False, 0.0, -0.0, -(10**30), 10**-9])
def test_numbers_of_other_types_are_taken(loop, run, value):
    ran = []
    loop.call_later(value, ran.append, 1)
    run(asyncio.sleep(0.005))
    assert ran == [1]


@pytest.mark.parametrize("method", ["call_later", "call_at"])
def test_an_infinite_delay_never_fires_and_can_be_cancelled(loop, run, method):
    ran = []
    handle = getattr(loop, method)(math.inf, ran.append, 1)
    assert handle.when() == math.inf
    run(asyncio.sleep(0.005))
    assert ran == []
    handle.cancel()
    assert handle.cancelled()
    run(asyncio.sleep(0.005))


def test_a_delay_of_minus_infinity_is_overdue(loop):
    ran = []
    loop.call_later(-math.inf, ran.append, 1)
    spin(loop, turns=1)
    assert ran == [1]


@pytest.mark.parametrize("delay", [1e10, 1e18, 1e300])
def test_far_deadlines_do_not_disturb_near_ones(loop, run, delay):
    handle = loop.call_later(delay, print, "never")
    run(asyncio.sleep(0.002))
    handle.cancel()


# ── other clocks ─────────────────────────────────────────────────────────────────────────────


class Clock:
    """A clock that moves only when told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self, *args):
        return self.now

    def move(self, seconds):
        self.now += seconds


def drive(loop, clock):
    """Two timers under a clock moved by callbacks; what fired after each move."""
    ran, after = [], []
    loop.call_later(10, ran.append, "ten")
    loop.call_at(105, ran.append, "five")
    for step in (4, 2, 3, 2):
        clock.move(step)
        spin(loop, turns=2)
        after.append(list(ran))
    return after


EXPECTED = [[], ["five"], ["five"], ["five", "ten"]]


def test_a_patched_clock_drives_the_timers(loop):
    clock = Clock()
    loop.time = clock
    assert drive(loop, clock) == EXPECTED


def test_an_overridden_clock_drives_the_timers(loop_class):
    clock = Clock()

    class Mine(loop_class):
        def time(self):
            return clock()

    loop = Mine()
    assert drive(loop, clock) == EXPECTED
    loop.close()


def test_a_clock_patched_between_runs_moves_pending_timers(loop):
    ran = []
    loop.call_later(3600, ran.append, 1)
    spin(loop)
    assert ran == []
    real = loop.time
    loop.time = lambda: real() + 7200
    spin(loop)
    assert ran == [1]


ASSIGNING = [
    (lambda loop, clock: setattr(loop, "time", clock), lambda loop: delattr(loop, "time")),
    (
        lambda loop, clock: vars(loop).__setitem__("time", clock),
        lambda loop: vars(loop).pop("time"),
    ),
    (
        lambda loop, clock: vars(loop).update(time=clock),
        lambda loop: vars(loop).__delitem__("time"),
    ),
]


@pytest.mark.parametrize(("assign", "remove"), ASSIGNING, ids=["attribute", "item", "update"])
def test_a_clock_comes_and_goes_while_the_loop_runs(loop, run, assign, remove):
    async def main():
        for _ in range(3):
            before = loop.time()
            assign(loop, lambda: 5.0)
            assert loop.call_later(10, print).when() == 15.0
            vars(loop)["time"] = lambda: 7.0
            assert loop.call_later(10, print).when() == 17.0
            remove(loop)
            assert before + 10 <= loop.call_later(10, print).when() <= loop.time() + 10

    run(main())


def test_a_clock_assigned_by_code_that_is_hot(loop):
    """The interpreter has its own ways to store an attribute then."""
    for now in range(300):
        loop.time = lambda now=now: float(now)
        assert loop.call_later(1, print).when() == now + 1
    for now in range(300):
        loop.time = lambda now=now: float(now)
        assert loop.call_later(1, print).when() == now + 1
        del loop.time
        assert loop.call_later(1, print).when() != now + 1


def test_loops_do_not_share_a_clock(loop, loop_class):
    other = loop_class()
    other.time = lambda: 5.0
    assert other.call_later(10, print).when() == 15.0
    assert loop.time() <= loop.call_later(0, print).when() <= loop.time()
    other.close()
    del other
    assert loop.time() <= loop.call_later(0, print).when() <= loop.time()


def test_a_jumping_clock_finishes_a_long_sleep(loop, run):
    now = [0.0]

    def jump():
        now[0] += 600
        return now[0]

    async def main():
        sleeper = loop.create_task(asyncio.sleep(3600, "slept"))
        while not sleeper.done():
            await asyncio.sleep(0)
        return await sleeper

    loop.time = jump
    assert run(main()) == "slept"
    assert now[0] >= 3600
