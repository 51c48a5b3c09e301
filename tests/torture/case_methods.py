"""Nothing grows: every public method again and again, with arguments made of its signature.

The calls are those of the generated test of wrong input: one right call of each method of the loop,
of handles, transports and servers, on one loop. The full form makes up to 100,000 calls of each,
for at most six seconds.
"""

import asyncio
import contextlib
import gc
import inspect
import logging
import signal
import tempfile
import time
import warnings

from bad_input import REFERENCE, all_cases, public_methods
from bad_values import World
from cases import Growth, case
from support import spin

#: What ends the loop or what it needs, and what runs it.
NOT_AGAIN = {
    "close",
    "run_forever",
    "run_until_complete",
    "set_default_executor",
    "shutdown_asyncgens",
    "shutdown_default_executor",
    "stop",
}
#: Calls of one world: what it has made is given back then.
IN_A_WORLD = 20
PATIENCE = 0.02


def call(world, target, method, arguments):
    """One call, and what it opens closed."""
    loop, result = world.loop, None
    args, kwargs = arguments(world)
    try:
        result = getattr(target, method)(*args, **kwargs)
        if inspect.iscoroutine(result) or asyncio.isfuture(result):
            task = asyncio.ensure_future(result, loop=loop)
            loop.run_until_complete(asyncio.wait([task], timeout=PATIENCE))
            if not task.done():
                task.cancel()
                loop.run_until_complete(asyncio.wait([task], timeout=1))
            result = None if task.cancelled() else task.result()
    except (OSError, ValueError, RuntimeError, NotImplementedError, AttributeError):
        pass  # the state is not for this call: it is only asked that nothing is left
    made = result if isinstance(result, tuple) else (result,)
    for thing in (*made, *args, *kwargs.values()):
        close(world, thing)


def close(world, made):
    if isinstance(made, asyncio.BaseTransport | asyncio.AbstractServer):
        with contextlib.suppress(Exception):
            getattr(made, "abort", made.close)()
        if hasattr(made, "_wait"):
            made.close()
            world.run(asyncio.wait([world.loop.create_task(made._wait())], timeout=1))
    elif hasattr(made, "cancel"):
        made.cancel()


def in_a_world(loop, subject, method, arguments):
    """Some calls of a method, on a subject of their own."""
    world = World(lambda: loop)
    target = loop
    if subject != "loop":
        target = world.subject = getattr(world, subject)()
    for _ in range(IN_A_WORLD):
        call(world, target, method, arguments)
    if subject != "loop":
        close(world, target)
        target = world.subject = None
    spin(loop, 3)
    world.closing.close()
    spin(loop, 1)


def check(t, loop, subject, method, parameters):
    (_, arguments) = next(iter(all_cases(method, parameters)))
    for _ in range(2):
        in_a_world(loop, subject, method, arguments)
    rounds, most = t.scale(8, 40), time.monotonic() + 6
    growth, made = Growth(rounds), 0
    while made < t.scale(0, 100_000):
        for _ in range(rounds):
            in_a_world(loop, subject, method, arguments)
        made += rounds * IN_A_WORLD
        if made >= 100_000 or time.monotonic() > most:
            break
    while True:
        for _ in range(rounds):
            in_a_world(loop, subject, method, arguments)
        made += rounds * IN_A_WORLD
        try:
            if growth.is_over():
                break
        except AssertionError as exc:
            raise AssertionError(f"{subject}.{method}: {exc}") from None
    t.count("calls", made)
    t.count("methods")


def methods_case(subject):
    def every_method(t):
        warnings.simplefilter("ignore")
        logging.getLogger("asyncio").disabled = True
        signal.signal(signal.SIGUSR1, lambda *args: None)
        with t.loop() as loop, tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            loop.set_exception_handler(lambda loop, context: None)
            for name, parameters, _ in public_methods(subject):
                if not (subject == "loop" and name in NOT_AGAIN):
                    check(t, loop, subject, name, parameters)
                    loop.set_task_factory(None)
                    loop.set_debug(False)
                    loop.set_exception_handler(lambda loop, context: None)
            loop.run_until_complete(loop.shutdown_default_executor())
        gc.collect()

    return every_method


for subject in REFERENCE:
    case(seconds=90, fds=1024, name=f"of_{subject}")(methods_case(subject))
