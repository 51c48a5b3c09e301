"""Exceptions of every kind out of every callback, and calls back into whatever called."""

import asyncio
import contextlib
import itertools
import os
import signal
import socket

from cases import case
from support import Recorder, spin
from workload import KINDS, check_echo, echo_streams, serving

CALLBACKS = (
    "connection_made",
    "data_received",
    "eof_received",
    "pause_writing",
    "resume_writing",
    "connection_lost",
)


class Odd(BaseException):
    """Neither an Exception nor one that ends a run."""


ERRORS = (ValueError, MemoryError, StopIteration, asyncio.CancelledError, Odd, GeneratorExit)
EXITS = (KeyboardInterrupt, SystemExit)


def outcome(call):
    """Runs a loop through what may end it."""
    try:
        call()
    except (*EXITS, Odd, GeneratorExit, asyncio.CancelledError) as exc:
        return exc
    return None


def raising_protocol(where, error, loop, hit):
    class Raising(Recorder):
        def note(self, name, *args):
            super().note(name, *args)
            if name == where:
                hit.append(name)
                raise error("on purpose")

        def __init__(self):
            self.hooks, self.calls, self.data = {}, [], bytearray()
            self.lost = loop.create_future()

    return Raising


@case(seconds=40)
def raised_by_every_callback(t):
    """Protocol callbacks: every error, over every kind of stream; the loop goes on, the order of
    callbacks holds, and nothing is left."""
    for kind in KINDS:
        for where in CALLBACKS:
            for error in (*ERRORS, *EXITS):
                hit = []
                with t.loop() as loop:
                    protocols = []
                    make = raising_protocol(where, error, loop, hit)

                    def factory():
                        protocols.append(make())
                        return protocols[-1]

                    async def scene():
                        async with serving(loop, kind, streams=echo_streams) as connect:
                            try:
                                transport, protocol = await connect(factory)
                            except (*ERRORS, RuntimeError, TypeError):
                                # What `connection_made` raises over TLS. A future refuses
                                # StopIteration: RuntimeError, or before 3.12 TypeError.
                                return
                            transport.set_write_buffer_limits(high=1000)
                            for _ in range(3):
                                transport.write(bytes(200_000))
                                await asyncio.sleep(0.001)
                            if kind != "tls":
                                transport.write_eof()
                            await asyncio.sleep(0.005)
                            transport.close()
                            await asyncio.wait([protocol.lost], timeout=0.02)

                    # One run may be ended by the error, the rest goes on in the next.
                    task = loop.create_task(scene())
                    for _ in range(30):
                        if task.done():
                            break
                        raised = outcome(lambda: loop.run_until_complete(task))
                        if raised:
                            t.count("runs ended")
                    assert task.done() or task.cancelled()
                    outcome(lambda: task.cancelled() or task.exception())
                    for protocol in protocols:
                        protocol.transport and protocol.transport.abort()
                    for _ in range(5):
                        outcome(lambda: spin(loop))
                    for protocol in protocols:
                        check_order(protocol.calls, kind, where)
                    t.count("errors raised", len(hit))
                    t.errors.take()
    t.take_unraisable()


def check_order(calls, kind, where):
    lost = calls.count("connection_lost")
    assert lost <= 1, calls
    if lost:
        assert calls[-1] == "connection_lost", calls
    if calls:
        assert calls[0] == "connection_made", (calls, kind, where)
        assert calls.count("connection_made") == 1, calls
    writing = [name for name in calls if name.endswith("_writing")]
    for first, second in itertools.pairwise(writing):
        assert first != second, (calls, kind, where)


@case()
def raised_by_callbacks_of_the_loop(t):
    """call_soon, timers, readers, writers, signal handlers, tasks, the exception handler: each
    with each error."""
    for error in (*ERRORS, *EXITS):
        for round_ in range(t.scale(3, 30)):
            with t.loop() as loop:
                ours, peer = socket.socketpair()
                ours.setblocking(False)
                raised, ran = [], []

                def boom(*args):
                    raised.append(1)
                    raise error("on purpose")

                def boom_once():
                    loop.remove_reader(ours)
                    boom()

                def boom_writing():
                    loop.remove_writer(ours)
                    boom()

                async def task():
                    await asyncio.sleep(0)
                    boom()

                if round_ % 3 == 1:
                    loop.set_exception_handler(boom)
                if round_ % 3 == 2:
                    loop.set_debug(True)
                peer.send(b"x")
                loop.add_reader(ours, boom_once)
                loop.add_writer(ours, boom_writing)
                loop.call_soon(boom)
                loop.call_later(0, boom)
                loop.call_soon_threadsafe(boom)
                loop.add_signal_handler(signal.SIGUSR1, boom)
                os.kill(os.getpid(), signal.SIGUSR1)
                tasks = [loop.create_task(task()) for _ in range(2)]
                for _ in range(40):
                    loop.call_soon(ran.append, 1)
                    with contextlib.suppress(*ERRORS):
                        outcome(lambda: spin(loop, 1))
                assert len(ran) == 40
                for one in tasks:
                    assert one.done()
                    outcome(lambda: one.cancelled() or one.exception())
                assert len(raised) >= 8, (error, len(raised))
                t.count("errors raised", len(raised))
                loop.remove_signal_handler(signal.SIGUSR1)
                loop.set_debug(False)
                loop.set_exception_handler(t.errors)
                t.errors.take()
                ours.close()
                peer.close()
    t.take_unraisable()


@case()
def re_entered(t):
    """From within every callback, everything is called that a transport and the loop have."""

    def meddle(loop, transport):
        calls = [
            lambda: transport.write(b"more"),
            lambda: transport.writelines([b"a", b"b"]),
            lambda: transport.pause_reading(),
            lambda: transport.resume_reading(),
            lambda: transport.set_write_buffer_limits(high=t.random.randrange(3000)),
            lambda: transport.get_write_buffer_size(),
            lambda: transport.set_protocol(transport.get_protocol()),
            lambda: transport.write_eof(),
            lambda: transport.close(),
            lambda: transport.abort(),
            lambda: transport.is_reading(),
            lambda: loop.call_soon(lambda: None),
            lambda: loop.call_later(0, lambda: None).cancel(),
            lambda: loop.run_until_complete(loop.create_future()),
            lambda: loop.run_forever(),
            lambda: loop.close(),
            lambda: loop.stop() if t.random.random() < 0.2 else None,
            lambda: transport.get_extra_info("peername"),
            lambda: repr(transport),
        ]
        weights = [5] * 6 + [3, 1, 1, 1] + [2] * (len(calls) - 10)
        for _ in range(t.random.randrange(4)):
            (call,) = t.random.choices(calls, weights)
            with contextlib.suppress(RuntimeError, NotImplementedError):
                call()
            t.count("calls from callbacks")

    for _ in range(t.scale(60, 2000)):
        kind = t.random.choice(KINDS)
        with t.loop() as loop:
            made = []

            class Meddling(Recorder):
                def note(self, name, *args):
                    super().note(name, *args)
                    meddle(loop, self.transport)
                    return t.random.random() < 0.5

                def connection_made(self, transport):
                    made.append(self)
                    super().connection_made(transport)

            async def scene():
                async with serving(loop, kind, Meddling) as connect:
                    opening = asyncio.ensure_future(connect(Meddling))
                    await asyncio.wait([opening], timeout=0.05)
                    opening.cancel()
                    for _ in range(5):
                        for protocol in made:
                            with contextlib.suppress(RuntimeError):  # after write_eof()
                                protocol.transport.write(bytes(t.random.randrange(100_000)))
                        await asyncio.sleep(0)
                    await asyncio.sleep(0.002)
                    await asyncio.gather(opening, return_exceptions=True)
                    for protocol in made:
                        protocol.transport.abort()

            task = loop.create_task(scene())
            for _ in range(3000):
                if task.done():
                    break
                with contextlib.suppress(RuntimeError):  # stopped
                    loop.run_until_complete(task)
            assert task.done()
            task.result()
            for _ in range(3):
                spin(loop)
            for protocol in made:
                check_order(protocol.calls, kind, "meddling")
                assert protocol.calls[-1] == "connection_lost", protocol.calls
            t.errors.take()


@case()
def integrity_beside_errors(t):
    """Connections that break do not touch their neighbours' bytes."""

    async def main(loop):
        def breaking():
            error = t.random.choice((ValueError, OSError, MemoryError))
            return raising_protocol(t.random.choice(CALLBACKS), error, loop, [])()

        done = False
        async with serving(loop, "tcp", streams=echo_streams) as connect:

            async def disturb():
                while not done:
                    transport, protocol = await connect(breaking)
                    transport.write(bytes(t.random.randrange(300_000)))
                    await asyncio.sleep(0)
                    t.random.choice((transport.close, transport.abort, transport.write_eof))()
                    t.count("connections broken")
                    await asyncio.wait([protocol.lost], timeout=0.005)
                    transport.abort()

            async def transfer():
                reader, writer = await connect()
                size = t.scale(3 << 20, 50 << 20)
                await check_echo(reader, writer, t.random, size)
                t.count("bytes checked", 2 * size)
                writer.close()

            disturbing = [asyncio.ensure_future(disturb()) for _ in range(3)]
            await asyncio.gather(*(transfer() for _ in range(3)))
            done = True
            await asyncio.gather(*disturbing)

    t.run(main)
    t.errors.take()
