"""Storms of signals, of children, and signals at odd moments."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time

from cases import case, check_usable
from support import spin
from workload import check_echo, echo_streams, serving


@case(seconds=30)
def a_storm_of_signals(t):
    """Thousands of signals from another process, handled by the loop and by `signal.signal`, while
    data is transferred: no byte is lost, no call is interrupted, the last signal is delivered."""
    seen = {"loop": 0, "plain": 0}
    signal.signal(signal.SIGUSR2, lambda *args: seen.update(plain=seen["plain"] + 1))
    script = """if True:
        import os, signal, sys, time
        end = time.monotonic() + float(sys.argv[2])
        while time.monotonic() < end:
            os.kill(int(sys.argv[1]), signal.SIGUSR1)
            os.kill(int(sys.argv[1]), signal.SIGUSR2)
            time.sleep(0.0001)
    """

    async def main(loop):
        loop.add_signal_handler(signal.SIGUSR1, lambda: seen.update(loop=seen["loop"] + 1))
        seconds = str(t.scale(3, 60))
        storm = subprocess.Popen([sys.executable, "-S", "-c", script, str(os.getpid()), seconds])
        for kind in ("tcp", "unix", "tls"):
            async with serving(loop, kind, streams=echo_streams) as connect:
                while True:
                    reader, writer = await connect()
                    await check_echo(reader, writer, t.random, 1 << 20)
                    t.count("bytes checked", 2 << 20)
                    writer.close()
                    await writer.wait_closed()
                    if storm.poll() is not None or kind != "tls":
                        break
        storm.wait()
        before = dict(seen)
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)
        while seen["loop"] == before["loop"] or seen["plain"] == before["plain"]:
            await asyncio.sleep(0.001)
        loop.remove_signal_handler(signal.SIGUSR1)

    t.run(main)
    assert seen["loop"] > 100 and seen["plain"] > 100, seen
    t.count("signals handled", sum(seen.values()))
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)


@case(seconds=30)
def interrupted_again_and_again(t):
    """Ctrl-C at random moments: each ends a run, the loop is usable, and the work goes on where it
    was, without a lost byte."""

    with t.loop() as loop:
        interrupting = True

        def interrupt():
            while interrupting:
                time.sleep(random.random() * 0.01)
                if interrupting:
                    os.kill(os.getpid(), signal.SIGINT)

        async def main():
            async with serving(loop, "tcp", streams=echo_streams) as connect:
                while t.figures.get("runs interrupted", 0) < t.scale(8, 80):
                    reader, writer = await connect()
                    size = 2 << 20
                    await check_echo(reader, writer, t.random, size)
                    t.count("bytes checked", 2 * size)
                    writer.close()

        # Only what is between two callbacks may be interrupted: in the middle of a Python line
        # nothing could be held to going on.
        wanted = False

        def note(signum, frame):
            nonlocal wanted
            wanted = True

        signal.signal(signal.SIGINT, note)

        def raise_if_wanted():
            nonlocal wanted
            loop.call_soon(raise_if_wanted)
            if wanted:
                wanted = False
                raise KeyboardInterrupt

        task = loop.create_task(main())
        thread = threading.Thread(target=interrupt)
        thread.start()
        loop.call_soon(raise_if_wanted)
        while not task.done():
            try:
                loop.run_until_complete(task)
            except KeyboardInterrupt:
                t.count("runs interrupted")
        interrupting = False
        thread.join()
        task.result()
        spin(loop)  # the last run may have been interrupted when it was about to end
        signal.signal(signal.SIGINT, signal.default_int_handler)


@case(seconds=40)
def interrupted_anywhere(t):
    """Real Ctrl-C wherever it hits: KeyboardInterrupt comes out of the run, at once, and the loop
    does its work afterwards."""
    with t.loop() as loop:
        for _ in range(t.scale(150, 3000)):
            idle = t.random.random() < 0.3
            tasks = [] if idle else [loop.create_task(churn()) for _ in range(3)]
            delay = t.random.random() * 0.01
            sent = []

            def interrupt():
                time.sleep(delay)
                sent.append(time.monotonic())
                os.kill(os.getpid(), signal.SIGINT)

            thread = threading.Thread(target=interrupt)
            try:
                thread.start()
                loop.run_forever()
                raise AssertionError("the run ended by itself")
            except KeyboardInterrupt:
                t.figure_max("microseconds at most", int((time.monotonic() - sent[0]) * 1e6))
            thread.join()
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks))
                assert all(task.cancelled() or task.exception() for task in tasks)
            t.count("interrupts")
        check_usable(loop)
    t.errors.take()
    t.take_unraisable()


async def churn():
    while True:
        await asyncio.sleep(0)
        await asyncio.sleep(0.0002)


@case(seconds=40, fds=1024)
def a_storm_of_children(t):
    """Hundreds of short children at once, each with its own status, each reaped."""

    async def main(loop):
        before = signal.getsignal(signal.SIGCHLD)

        async def one(at):
            status = at % 100
            child = await asyncio.create_subprocess_exec(
                "/bin/sh", "-c", f"printf %s {at}; exit {status}", stdout=asyncio.subprocess.PIPE
            )
            output, _ = await child.communicate()
            assert (output, child.returncode) == (str(at).encode(), status)
            t.count("children")

        for _ in range(t.scale(2, 20)):
            await asyncio.wait_for(asyncio.gather(*(one(at) for at in range(200))), 60)
        assert signal.getsignal(signal.SIGCHLD) is before

    t.run(main)


@case(seconds=40, fds=1024)
def children_of_others(t):
    """A program that ignores SIGCHLD, one that reaps everything itself, and children killed and
    stopped at random: nobody waits for ever."""
    sleep = ["/bin/sleep", "30"]

    async def main(loop):
        async def one():
            child = await asyncio.create_subprocess_exec(*sleep)
            waiting = asyncio.ensure_future(child.wait())
            for _ in range(t.random.randrange(3)):
                await asyncio.sleep(0)
            action = t.random.choice(("kill", "terminate", "stop", "cancel", "reap"))
            match action:
                case "kill":
                    child.kill()
                case "terminate":
                    child.terminate()
                case "stop":
                    child.send_signal(signal.SIGSTOP)
                    child.send_signal(signal.SIGKILL)
                case "cancel":
                    waiting.cancel()
                    await asyncio.gather(waiting, return_exceptions=True)
                    child.kill()
                    waiting = asyncio.ensure_future(child.wait())
                case "reap":
                    # Somebody else takes the status away.
                    os.kill(child.pid, signal.SIGKILL)
                    try:
                        os.waitpid(child.pid, 0)
                    except ChildProcessError:
                        pass
            status = await asyncio.wait_for(waiting, 10)
            assert action == "reap" or status < 0, (action, status)
            t.count("children")

        for _ in range(t.scale(10, 200)):
            await asyncio.gather(*(one() for _ in range(10)))

    for disposition in (signal.SIG_DFL, signal.SIG_IGN, lambda *args: None):
        signal.signal(signal.SIGCHLD, disposition)
        if disposition == signal.SIG_IGN:
            continue  # the kernel reaps: the status is lost to everybody
        t.run(main)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
