"""Every byte arrives, once and in order: random sizes, random pauses, compared by hash.

The full form sends 1 GiB each way over each kind of stream to a protocol, and as much to streams.
"""

import asyncio
import hashlib

from cases import case
from workload import ALL_KINDS, check_echo, echo_streams, pieces, serving

MIB = 1 << 20
#: MiB in the quick form.
QUICK = {"tls": 6, "layers": 3}


def echo_case(kind, streams):
    def echo(t):
        async def main(loop):
            total = t.scale(QUICK.get(kind, 12), 1024) * MIB
            async with serving(loop, kind, streams=echo_streams if streams else None) as connect:

                async def one():
                    reader, writer = await connect()
                    await check_echo(reader, writer, t.random, total // 4)
                    writer.close()
                    await writer.wait_closed()

                await asyncio.gather(*(one() for _ in range(4)))
                t.count("bytes checked", 2 * total)

        t.run(main)

    return echo


for kind in ALL_KINDS:
    for streams in (False, True):
        name = f"echo_{kind}_{'streams' if streams else 'protocol'}"
        case(seconds=90, name=name)(echo_case(kind, streams))


class Sink(asyncio.Protocol):
    """Hashes what it receives, pausing now and then; in its own buffer, if that is wanted."""

    def __init__(self, random):
        self.random, self.hash, self.size = random, hashlib.sha256(), 0
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        assert not self.paused
        self.hash.update(data)
        self.size += len(data)
        if self.random.random() < 0.1:
            self.paused = True
            self.transport.pause_reading()
            loop = asyncio.get_running_loop()
            loop.call_later(self.random.random() * 0.002, self.resume)

    paused = False

    def resume(self):
        self.paused = False
        self.transport.resume_reading()

    def connection_lost(self, exc):
        self.lost.set_result(exc)


class BufferedSink(Sink, asyncio.BufferedProtocol):
    def get_buffer(self, hint):
        self.buffer = bytearray(self.random.randrange(1, 100_000))
        return self.buffer

    def buffer_updated(self, size):
        super().data_received(memoryview(self.buffer)[:size])


def close_case(kind, sink):
    def close_delivers_all(t):
        """Everything is written in one go, then `close()`: slow readers, no drain."""

        async def main(loop):
            sinks = []

            def factory():
                sinks.append(sink(t.random))
                return sinks[-1]

            async with serving(loop, kind, factory) as connect:
                for _ in range(t.scale(5, 100)):
                    total = t.random.choice((1, 1000, MIB, 3 * MIB))
                    transport, _ = await connect(asyncio.Protocol)
                    sent = hashlib.sha256()
                    for size in pieces(t.random, total):
                        data = t.random.randbytes(size)
                        sent.update(data)
                        transport.write(data)
                    transport.close()
                    while not sinks:
                        await asyncio.sleep(0)
                    got = sinks.pop()
                    assert await got.lost is None
                    assert (got.size, got.hash.digest()) == (total, sent.digest())
                    t.count("bytes checked", total)

        t.run(main)

    return close_delivers_all


for kind in ALL_KINDS:
    for sink in (Sink, BufferedSink):
        if kind == "pipe" and sink is BufferedSink:
            continue  # pipes know no buffered protocols
        case(name=f"close_delivers_all_{kind}_{sink.__name__.lower()}")(close_case(kind, sink))
