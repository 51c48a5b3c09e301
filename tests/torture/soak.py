"""Mixed load for as long as you like, and whether anything grows under it.

    python tests/torture/soak.py SECONDS [--seed N] [--loop asyncio] [--pause MS]

TCP, TLS, TLS in TLS, Unix sockets, pipes, UDP, children, timers, threads, lookups and cancellations
at once, on one loop; every byte is compared. The time is cut into rounds. After each, with
everything closed, descriptors, threads, objects, blocks and resident memory are counted. The end
compares the last third with the second: they have to be flat.
"""

import argparse
import asyncio
import gc
import logging
import random
import socket
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from cases import Torture, check_usable, resident  # noqa: E402
from support import Datagrams, Recorder, open_fds  # noqa: E402
from workload import KINDS, check_echo, echo_streams, serving  # noqa: E402

#: What may be added from the second third to the last: a share of it, or so many.
MAY_GROW = {
    "descriptors": (0, 0),
    "threads": (0, 0),
    "objects": (0.005, 200),
    "blocks": (0.01, 1000),
    "references": (0.01, 2000),
    "resident KiB": (0.05, 8192),
}


class Load:
    """What runs during a round; each method is one operation of a kind."""

    def __init__(self, t, loop, connects):
        self.t, self.loop, self.connects = t, loop, connects

    async def echo(self, kind):
        reader, writer = await self.connects[kind]()
        try:
            size = self.t.random.randrange(1, 300_000)
            await check_echo(reader, writer, self.t.random, size)
            self.t.count(f"bytes over {kind}", 2 * size)
            writer.close()
            await writer.wait_closed()
        finally:
            writer.transport.abort()

    async def abort(self):
        transport, protocol = await self.connects[self.t.random.choice((*KINDS, "layers"))](
            Recorder
        )
        transport.write(self.t.random.randbytes(100_000))
        await asyncio.sleep(self.t.random.random() * 0.002)
        transport.abort()
        await protocol.lost

    async def cancel(self):
        task = asyncio.ensure_future(self.echo(self.t.random.choice((*KINDS, "layers"))))
        await asyncio.sleep(self.t.random.random() * 0.004)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def datagrams(self):
        transport, protocol = await self.loop.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0))
        sent = [self.t.random.randbytes(self.t.random.randrange(1400)) for _ in range(20)]
        address = transport.get_extra_info("sockname")
        for data in sent:
            transport.sendto(data, address)
        await protocol.until_called("datagram_received", len(sent))
        assert [data for data, _ in protocol.received] == sent
        transport.close()
        await protocol.until_called("connection_lost")

    async def child(self):
        data = self.t.random.randbytes(self.t.random.randrange(200_000))
        child = await asyncio.create_subprocess_exec("/bin/cat", stdin=-1, stdout=-1)
        output, _ = await child.communicate(data)
        assert output == data and child.returncode == 0

    async def timers(self):
        fired, wanted = [], 100
        for _ in range(wanted):
            self.loop.call_later(self.t.random.random() * 0.01, fired.append, 1)
            self.loop.call_later(1000, fired.append, 2).cancel()
        while len(fired) < wanted:
            await asyncio.sleep(0.001)
        assert fired == [1] * wanted

    async def threads(self):
        came, wanted = [], 500

        def post():
            for number in range(wanted):
                self.loop.call_soon_threadsafe(came.append, number)

        thread = threading.Thread(target=post)
        thread.start()
        await self.loop.run_in_executor(None, thread.join)
        while len(came) < wanted:
            await asyncio.sleep(0)
        assert came == list(range(wanted))

    async def lookups(self):
        assert await self.loop.getaddrinfo("localhost", 80)

    async def raw_sockets(self):
        ours, peer = socket.socketpair()
        with ours, peer:
            ours.setblocking(False)
            peer.setblocking(False)
            await self.loop.sock_sendall(ours, b"x" * 1000)
            assert len(await self.loop.sock_recv(peer, 2000)) == 1000


async def repeat(t, name, operation, until, pause):
    while time.monotonic() < until:
        await operation()
        t.count(name)
        await asyncio.sleep(t.random.random() * pause)


def take_stock():
    for _ in range(2):
        gc.collect()
    counted = {
        "descriptors": len(open_fds()),
        "threads": threading.active_count(),
        "objects": len(gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
        "resident KiB": resident() // 1024,
    }
    if hasattr(sys, "gettotalrefcount"):
        counted["references"] = sys.gettotalrefcount()
    return counted


async def soak(t, loop, seconds, pause):
    """Rounds of load; what was counted after each."""
    rounds, seen = min(60, max(9, int(seconds / 2))), []
    async with (
        serving(loop, "tcp", streams=echo_streams) as tcp,
        serving(loop, "tls", streams=echo_streams) as tls,
        serving(loop, "unix", streams=echo_streams) as unix,
        serving(loop, "pipe", streams=echo_streams) as pipe,
        serving(loop, "layers", streams=echo_streams) as layers,
    ):
        connects = {"tcp": tcp, "tls": tls, "unix": unix, "pipe": pipe, "layers": layers}
        load = Load(t, loop, connects)
        operations = {f"echoes over {kind}": lambda kind=kind: load.echo(kind) for kind in connects}
        operations |= {
            name: getattr(load, name)
            for name in vars(Load)
            if not name.startswith("_") and name != "echo"
        }
        for _ in range(rounds):
            until = time.monotonic() + seconds / rounds
            await asyncio.gather(
                *(repeat(t, name, made, until, pause) for name, made in operations.items())
            )
            await until_at_rest()
            seen.append(take_stock())
    await loop.shutdown_default_executor()
    return seen


async def until_at_rest():
    """The servers' ends of the connections close a little later."""
    for _ in range(100):
        await asyncio.sleep(0.002)
        if len(asyncio.all_tasks()) == 1:
            break
    await asyncio.sleep(0.05)


def judge(seen):
    """What grew: lines of text."""
    third = len(seen) // 3
    grown = []
    for name in seen[0]:
        before = min(counts[name] for counts in seen[third:-third])
        after = min(counts[name] for counts in seen[-third:])
        share, number = MAY_GROW[name]
        shown = f"{name:12} {seen[0][name]:>10,} {before:>10,} {after:>10,}"
        print(shown, f"(at most {max(counts[name] for counts in seen):,})")
        if after > before + max(share * before, number):
            grown.append(shown)
    return grown


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--loop", default="oxloop", choices=("oxloop", "asyncio"))
    parser.add_argument("--pause", type=float, default=5, help="ms between two operations, at most")
    options = parser.parse_args()
    print(f"soaking {options.loop} for {options.seconds:.0f} s, seed {options.seed}", flush=True)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    t = Torture(True, options.seed, options.loop)
    started, used = time.monotonic(), time.process_time()
    with t.loop() as loop:
        seen = loop.run_until_complete(soak(t, loop, options.seconds, options.pause / 1000))
        check_usable(loop)
    took, used = time.monotonic() - started, time.process_time() - used
    print(", ".join(f"{name} {number:,}" for name, number in sorted(t.figures.items())))
    print(
        f"{len(seen)} rounds in {took:.0f} s, {used:.0f} s of CPU; first, second third, last third:"
    )
    grown = judge(seen)
    for context in t.errors.take():
        grown.append(f"reported: {context}")
    print("\n".join(grown) if grown else "nothing grew, nothing was lost")
    return bool(grown)


if __name__ == "__main__":
    sys.exit(main())
