"""asyncio's streams: random programs against asyncio, patches under load, cycles, hard ends."""

import asyncio
import importlib
import random
import time

import stream_program
from cases import case


def traced(new_event_loop, program, *options):
    """What a program shows on a loop, and what reached the exception handler."""
    loop = new_event_loop()
    reports = []
    loop.set_exception_handler(
        lambda loop, context: reports.append((context["message"], repr(context.get("exception"))))
    )
    asyncio.set_event_loop(loop)
    try:
        player = stream_program.Player(loop, *options)
        trace = player.play(program)
        player.end()
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return trace, sorted(reports)


def first_difference(theirs, ours):
    for at, (their, our) in enumerate(zip(theirs, ours, strict=False)):
        if their != our:
            before = theirs[max(0, at - 6) : at]
            return f"at {at} of {len(theirs)}:\n  {before}\n  asyncio {their}\n  oxloop  {our}"
    return f"lengths {len(theirs)} and {len(ours)}"


@case(seconds=30)
def programs_show_the_same_as_on_asyncio(t):
    theirs = importlib.import_module("asyncio").new_event_loop
    end = time.monotonic() + t.scale(20, 240)
    for _ in range(t.scale(300, 100_000)):
        if time.monotonic() > end:
            break
        seed = t.random.getrandbits(64)
        draws = random.Random(seed)
        program = stream_program.draw(draws, draws.randrange(5, 60))
        options = (
            draws.choice((5, 20, 100, 1 << 16)),
            draws.random() < 0.5,
            draws.choice((0, 0.1, 1)),
        )
        expected = traced(theirs, program, *options)
        got = traced(t.new_event_loop, program, *options)
        if expected != got:
            where = first_difference(expected[0], got[0])
            raise AssertionError(f"program {seed}: {where}\n{expected[1]}\n{got[1]}\n{program}")
        t.count("programs")
        t.count("steps", len(program))
