"""Other threads: floods, order, closing under their hands, loops in many threads, and forks."""

import asyncio
import os
import signal
import sys
import threading
import time

from cases import case
from workload import check_echo, echo_streams, serving


@case(seconds=30, memory=6 << 30)
def a_flood(t):
    """Four threads call as fast as they can: nothing is lost, each thread's order holds, and a
    short sleep stays short."""

    async def main(loop):
        counts, flooding, worst = [0] * 4, True, 0

        def take(thread, number):
            assert counts[thread] == number
            counts[thread] += 1

        def flood(thread):
            number = 0
            while flooding:
                loop.call_soon_threadsafe(take, thread, number)
                number += 1
            sent[thread] = number

        sent = [0] * 4
        threads = [threading.Thread(target=flood, args=(at,)) for at in range(4)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + t.scale(2, 10)
        while time.monotonic() < end:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            worst = max(worst, time.monotonic() - began)
        flooding = False
        for thread in threads:
            await loop.run_in_executor(None, thread.join)
        while counts != sent:
            await asyncio.sleep(0.001)
        t.count("calls from threads", sum(sent))
        t.figure_max("worst 5 ms sleep, in us", int(worst * 1e6))
        await loop.shutdown_default_executor()

    t.run(main)


@case(seconds=30)
def closed_under_their_hands(t):
    """Threads call while the loop is closed: each call is taken or says that it is closed."""
    for _ in range(t.scale(60, 2000)):
        loop = t.new_event_loop()
        ran, refused, taken = [], [0] * 3, [0] * 3
        barrier = threading.Barrier(4)

        def call(at):
            barrier.wait()
            for _ in range(200):
                try:
                    handle = loop.call_soon_threadsafe(ran.append, 1)
                    if t.random.random() < 0.1:
                        handle.cancel()
                    taken[at] += 1
                except RuntimeError:
                    refused[at] += 1

        threads = [threading.Thread(target=call, args=(at,)) for at in range(3)]
        for thread in threads:
            thread.start()
        loop.call_soon(barrier.wait)
        loop.call_later(t.random.random() * 0.002, loop.stop)
        loop.run_forever()
        loop.close()
        for thread in threads:
            thread.join()
        assert sum(taken) + sum(refused) == 600
        t.count("calls refused", sum(refused))
        t.count("calls taken", sum(taken))


@case(seconds=30)
def the_wrong_thread(t):
    """Everything that is not meant for other threads, called from them beside a running loop: what
    it does is nobody's promise, but the process and the loop survive it."""

    async def main(loop):
        async with serving(loop, "tcp", streams=echo_streams) as connect:
            reader, writer = await connect()
            transport, stop = writer.transport, False

            def meddle():
                while not stop:
                    for call in (
                        lambda: loop.call_soon(lambda: None),
                        lambda: loop.call_later(0.001, lambda: None).cancel(),
                        lambda: transport.get_write_buffer_size(),
                        lambda: transport.is_reading(),
                        lambda: transport.pause_reading(),
                        lambda: transport.resume_reading(),
                        lambda: reader.at_eof(),
                        lambda: bytes(reader._buffer),
                        lambda: repr(loop) + repr(transport) + repr(reader),
                        lambda: loop.create_future(),
                        lambda: loop.time(),
                        lambda: reader.read(1).close(),
                    ):
                        try:
                            call()
                        except (RuntimeError, BufferError):
                            pass
                        t.count("calls")

            threads = [threading.Thread(target=meddle) for _ in range(3)]
            for thread in threads:
                thread.start()
            try:
                for _ in range(t.scale(300, 10_000)):
                    data = t.random.randbytes(2000)
                    writer.write(data)
                    assert await asyncio.wait_for(reader.readexactly(2000), 10) == data
            finally:
                stop = True
                for thread in threads:
                    thread.join()
            writer.close()

    t.run(main)
    t.errors.take()


@case(seconds=30)
def loops_in_many_threads(t):
    """A loop in each of many threads at once, each with traffic of its own."""
    failed = []

    def run():
        import random

        draws = random.Random(t.seed)

        async def main():
            loop = asyncio.get_running_loop()
            async with serving(loop, "tcp", streams=echo_streams) as connect:
                reader, writer = await connect()
                await check_echo(reader, writer, draws, 300_000)
                writer.close()
                await writer.wait_closed()

        try:
            loop = t.new_event_loop()
            loop.run_until_complete(main())
            loop.close()
        except BaseException as exc:
            failed.append(exc)
            raise

    for _ in range(t.scale(3, 60)):
        threads = [threading.Thread(target=run) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed, failed
        t.count("loops", 12)


@case(seconds=40, fds=512)
def forked_while_running(t):
    """os.fork() in a callback of a busy loop: the child makes a loop of its own and works, or just
    leaves; the parent loses nothing."""

    async def main(loop):
        async with serving(loop, "tcp", streams=echo_streams) as connect:

            async def transfer():
                reader, writer = await connect()
                size = t.scale(4 << 20, 40 << 20)
                await check_echo(reader, writer, t.random, size)
                t.count("bytes checked", 2 * size)
                writer.close()

            transfers = [asyncio.ensure_future(transfer()) for _ in range(3)]
            children = []
            loop.add_signal_handler(signal.SIGUSR1, lambda: None)
            while not all(task.done() for task in transfers) or len(children) < 10:
                await asyncio.sleep(0.005)
                if len(children) < t.scale(40, 400):
                    how = t.random.choice(("leave", "close", "work", "call"))
                    pid = os.fork()
                    if pid == 0:
                        os._exit(in_child(t, loop, how))
                    children.append(pid)
            await asyncio.gather(*transfers)
            for pid in children:
                _, status = await loop.run_in_executor(None, os.waitpid, pid, 0)
                assert status == 0, status
            t.count("forks", len(children))
            loop.remove_signal_handler(signal.SIGUSR1)
        await loop.shutdown_default_executor()

    import warnings

    warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads
    t.run(main)


def in_child(t, inherited, how):
    """What the child of a fork does; its status."""
    signal.alarm(10)
    try:
        if how == "leave":
            return 0
        if how == "call":
            inherited.call_soon_threadsafe(lambda: None)
            inherited.call_soon(lambda: None)
            return 0
        asyncio._set_running_loop(None)
        if how == "close":
            return 0

        async def work():
            loop = asyncio.get_running_loop()
            async with serving(loop, "tcp", streams=echo_streams) as connect:
                reader, writer = await connect()
                writer.write(b"line\n")
                assert await reader.readline() == b"line\n"
                writer.close()
            assert await loop.getaddrinfo("localhost", 80)
            child = await asyncio.create_subprocess_exec("/bin/true")
            assert await child.wait() == 0

        loop = t.new_event_loop()
        loop.run_until_complete(work())
        loop.close()
        return 0
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        return 1
