"""Calls made of signatures and pools of values, and what comes of them on a loop.

A subject is a kind of object (the loop, a handle, a transport, a server); a state is what happened
to it before the call. ``cases()`` makes calls of a method's signature in the running asyncio, and
``attempt()`` makes one of them on a fresh loop and tells its outcome.
"""

import asyncio
import contextlib
import gc
import inspect
import threading
from asyncio import base_subprocess, selector_events, sslproto, unix_events

from bad_values import HIDDEN, INSTEAD_OF_SOCK, NEEDED, World, valid, wrong_values
from support import open_fds

PATIENCE = 0.02

#: What asyncio makes, whose public methods and signatures are the reference.
REFERENCE = {
    "loop": asyncio.SelectorEventLoop,
    "handle": asyncio.Handle,
    "timer": asyncio.TimerHandle,
    "server": asyncio.Server,
    "stream": selector_events._SelectorSocketTransport,
    "datagram": selector_events._SelectorDatagramTransport,
    "read_pipe": unix_events._UnixReadPipeTransport,
    "write_pipe": unix_events._UnixWritePipeTransport,
    "process": base_subprocess.BaseSubprocessTransport,
    "tls": sslproto._SSLProtocolTransport,
}


def public_methods(subject):
    """Names and signatures (without self) of what a program may call."""
    kind = REFERENCE[subject]
    for name in dir(kind):
        method = getattr(kind, name)
        if not name.startswith("_") and callable(method):
            parameters = list(inspect.signature(method).parameters.values())[1:]
            yield name, parameters, inspect.iscoroutinefunction(method)


# -- calls -----------------------------------------------------------------------------------


def cases(method, parameters, state):
    """Calls of a method: labels, and functions that make arguments for a world."""
    for label, arguments in all_cases(method, parameters):
        # Out of debug mode they do what they say.
        blocks = method.startswith("sock_") and label == "sock=blocking" and state != "debug"
        if not blocks:
            yield label, arguments


def all_cases(method, parameters):
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    needed = NEEDED.get(method, ())
    base = [p.name for p in named if p.default is p.empty or p.name in needed]
    positional = [p.name for p in named if p.kind is p.POSITIONAL_OR_KEYWORD]
    takes_more = any(p.kind is p.VAR_POSITIONAL for p in parameters)

    def make(overrides, *more, by_name=False, without=(), **keywords):
        def arguments(world):
            names = [name for name in base if name not in without]
            names += [name for name in overrides if name not in names]
            values = {n: overrides.get(n, valid(method, n))(world) for n in names}
            args = []
            for name in () if by_name or without else positional:
                if name not in values:
                    break
                args.append(values.pop(name))
            return [*args, *more], values | keywords

        return arguments

    yield "valid", make({})
    yield "by name", make({}, by_name=True)
    yield "an unknown keyword", make({}, unknown=None)
    if base:
        yield "nothing", lambda world: ([], {})
    if not takes_more:
        yield "one too many", lambda world: ([None] * (len(positional) + 1), {})
    for name in dict.fromkeys([*(p.name for p in named), *HIDDEN.get(method, ())]):
        without = INSTEAD_OF_SOCK if name == "sock" and needed else ()
        for label, value in wrong_values(name).items():
            yield f"{name}={label}", make({name: value}, without=without)


# -- states ----------------------------------------------------------------------------------


def turn(world):
    world.loop.call_soon(world.loop.stop)
    world.loop.run_forever()


def in_thread(function):
    """Call it in a thread, wait, and pass its exception on."""
    raised = []

    def call():
        try:
            function()
        except BaseException as exc:
            raised.append(exc)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if raised:
        try:
            raise raised[0]
        finally:
            raised.clear()


STATES = {
    "loop": ("open", "closed", "running", "debug", "thread"),
    "stream": ("open", "closing", "closed", "paused", "ended", "loop closed"),
    "datagram": ("open", "closing", "closed", "loop closed"),
    "read_pipe": ("open", "closing", "closed", "paused", "loop closed"),
    "write_pipe": ("open", "closing", "closed", "ended", "loop closed"),
    "handle": ("open", "cancelled", "run", "loop closed"),
    "timer": ("open", "cancelled", "run", "loop closed"),
    "server": ("open", "closed", "loop closed"),
    "process": ("open", "closed", "ended"),
    "tls": ("open", "closed"),
}


def states(subject, method, is_coroutine):
    """Those in which the method is called: each takes its time, so not all that one can be in."""
    for state in STATES[subject]:
        if subject == "loop" and state == "debug":
            # What debug mode looks at: callbacks, and whether sockets block.
            if method.startswith(("call_", "sock_")):
                yield state
        elif not (subject == "loop" and state in ("running", "thread") and is_coroutine):
            yield state


def enter(world, subject, state):
    """Bring the subject into the state; returns it."""
    loop = world.loop
    if subject == "loop":
        loop.set_debug(state in ("debug", "thread"))
        return loop
    made = world.subject = getattr(world, subject)()
    match state:
        case "cancelled":
            made.cancel()
        case "run":
            turn(world)
        case "closing":
            made.close()
        case "closed":
            made.close()
            if subject == "process":
                world.run(made._wait())
            turn(world)
            turn(world)
        case "paused":
            made.pause_reading()
        case "ended" if subject == "process":
            made.kill()
            world.run(made._wait())
        case "ended":
            made.write_eof()
        case "loop closed":
            turn(world)
            loop.close()
    return made


# -- outcomes --------------------------------------------------------------------------------


class Attempt:
    """One call on a fresh loop, and what came of it."""

    def __init__(self, new_event_loop, subject, method, state, arguments, patience=PATIENCE):
        self.patience = patience
        self.world = world = World(new_event_loop)
        self.result = None
        target = enter(world, subject, state)
        args, kwargs = arguments(world)
        if (subject, state) == ("loop", "closed"):
            world.loop.close()
        world.reported.clear()
        bound = getattr(target, method)
        self.raised = None
        try:
            self.call(state if subject == "loop" else "", bound, args, kwargs)
        except Exception as exc:
            self.raised = type(exc).__name__
            exc.__traceback__ = None
        if not world.loop.is_closed():
            world.loop.set_task_factory(None)
        del args, kwargs, bound, target

    def call(self, state, method, args, kwargs):
        loop = self.world.loop
        if method.__name__ in ("run_forever", "run_until_complete") and not loop.is_closed():
            loop.call_later(0.002, loop.stop)
        if state == "running":

            async def main():
                self.result = method(*args, **kwargs)

            self.world.run(main())
        elif state == "thread":

            async def main():
                in_thread(lambda: self.keep(method(*args, **kwargs)))

            self.world.run(main())
        else:
            self.keep(method(*args, **kwargs))
        if inspect.iscoroutine(self.result) or asyncio.isfuture(self.result):
            self.settle()

    def keep(self, result):
        self.result = result

    def settle(self):
        """Wait for an awaitable, but not long."""
        loop, awaitable, self.result = self.world.loop, self.result, None
        if loop.is_closed():
            return self.step(awaitable)
        if loop.get_debug() and asyncio.isfuture(awaitable):
            return awaitable.cancel()

        async def wait():
            return await awaitable

        task = loop.create_task(wait())
        self.world.run(asyncio.wait([task], timeout=self.patience))
        if not task.done():
            self.raised = "pending"
            task.cancel()
            self.world.run(asyncio.wait([task], timeout=0.1))
        elif not task.cancelled():
            self.result = task.result()

    def step(self, awaitable):
        """The loop is closed and can run nothing: only the first step of a coroutine."""
        if inspect.iscoroutine(awaitable):
            try:
                awaitable.send(None)
            except StopIteration as stop:
                self.result = stop.value
            finally:
                awaitable.close()

    def outcome(self):
        """What was raised, and what reached the exception handler in the turns after it."""
        world, text = self.world, self.raised or "ok"
        try:
            for _ in range(0 if world.loop.is_closed() else 3):
                turn(world)
        except Exception as exc:
            # The loop cannot go on: what it was given is in its way for good.
            text += f" breaking the loop by {type(exc).__name__}"
            world.loop.close()
        return text + (f" reporting {set(world.reported)}" if world.reported else "")

    def residue(self):
        """What a call that failed left behind in a loop that is open."""
        world = self.world
        if world.loop.is_closed() or self.raised in (None, "pending"):
            return []
        left = [f"{thing()!r} is kept" for thing in world.given if thing() is not None]
        return left + [f"{task!r} is left" for task in asyncio.all_tasks(world.loop)]

    def end(self):
        """Close what the call has made, and everything else."""
        world, loop = self.world, self.world.loop
        results = self.result if isinstance(self.result, tuple) else (self.result,)
        self.result = None
        for result in (*results, world.subject):
            if hasattr(result, "_wait") and not loop.is_closed():
                result.close()
                # A protocol that is none keeps it from ending.
                world.run(asyncio.wait([loop.create_task(result._wait())], timeout=0.1))
            elif isinstance(result, asyncio.BaseTransport | asyncio.AbstractServer):
                with contextlib.suppress(Exception):
                    getattr(result, "abort", result.close)()
        world.subject = None
        world.closing.close()
        if not loop.is_closed():
            turn(world)
            turn(world)
            world.run(loop.shutdown_default_executor())
            loop.close()


def attempt_all(new_event_loop, subject, method, state, wanted, patience=PATIENCE):
    """The outcomes of the calls, by label, and what they left behind."""
    outcomes, attempts = {}, []
    fds, threads = open_fds(), threading.active_count()
    for label, arguments in wanted.items():
        attempt = Attempt(new_event_loop, subject, method, state, arguments, patience)
        outcomes[label] = attempt.outcome()
        attempts.append((label, attempt))

    def kept():
        return [f"{label}: {text}" for label, attempt in attempts for text in attempt.residue()]

    def opened():
        found = [f"fd {fd}: {name}" for fd, name in open_fds().items() if fds.get(fd) != name]
        more = threading.active_count() > threads
        return found + [str(thread) for thread in threading.enumerate() if more]

    left = once_collected(kept)
    for _, attempt in attempts:
        attempt.end()
    attempts.clear()
    attempt = None
    return outcomes, left + once_collected(opened)


def once_collected(find):
    """What is found although the garbage has been collected. Collecting takes its time."""
    if find():
        gc.collect()
    return find()
