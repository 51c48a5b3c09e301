"""Peers that reset, half close, dawdle or leave, and closing in every state."""

import asyncio
import contextlib
import socket

from cases import case
from support import Recorder, eventually
from tls_support import client_context
from workload import KINDS, serving, settle

RESET = bytes([1, *[0] * 7])  # linger 0: closing resets


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def check_end(protocol):
    """It was told of its end once, after everything else, with an OSError or None."""
    assert protocol.calls.count("connection_lost") == 1
    assert protocol.calls[-1] == "connection_lost"
    assert protocol.lost_with is None or isinstance(protocol.lost_with, OSError)


@case()
def reset_in_the_middle_of_writing(t):
    """The peer resets at a random moment; the writer hears of it once, with an OSError or None."""

    async def main(loop):
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        for _ in range(t.scale(200, 5000)):
            transport, protocol = await loop.create_connection(Recorder, *listener.getsockname())
            peer, _ = await loop.sock_accept(listener)
            for _ in range(t.random.randrange(5)):
                transport.write(bytes(t.random.choice((1, 1000, 100_000, 3_000_000))))
                if t.random.random() < 0.5:
                    await asyncio.sleep(0)
            if t.random.random() < 0.3:
                transport.pause_reading()
            if t.random.random() < 0.2:
                with contextlib.suppress(BlockingIOError):
                    peer.recv(100_000)
            reset(peer)
            for _ in range(t.random.randrange(3)):
                transport.write(b"more")
                await asyncio.sleep(0)
            # One that does not read does not hear of it, until it writes.
            if not transport.is_reading() and not transport.is_closing():
                transport.write(b"x")
                await asyncio.sleep(0)
                transport.write(b"x")
            await asyncio.wait_for(protocol.lost, 5)
            check_end(protocol)
            t.count("resets")
        listener.close()

    t.run(main)


@case()
def left_during_the_handshake(t):
    """TLS peers of both sides that send a part of a handshake and then reset or end."""

    hello = client_hello()

    async def main(loop):
        async with serving(loop, "tls", Recorder) as connect:
            for _ in range(t.scale(150, 3000)):
                with socket.create_connection(connect.address) as sock:
                    sock.send(hello[: t.random.randrange(len(hello) + 1)])
                    await settle(t.random.randrange(4))
                    if t.random.random() < 0.5:
                        reset(sock)
                t.count("servers left")
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        trusted = client_context()
        for _ in range(t.scale(150, 3000)):
            opening = asyncio.ensure_future(
                loop.create_connection(
                    Recorder, *listener.getsockname(), ssl=trusted, server_hostname="localhost"
                )
            )
            peer, _ = await loop.sock_accept(listener)
            if t.random.random() < 0.5:
                await loop.sock_recv(peer, 10_000)
                peer.send(t.random.randbytes(t.random.randrange(1, 100)))
            await settle(t.random.randrange(3))
            reset(peer) if t.random.random() < 0.5 else peer.close()
            (failed,) = await asyncio.gather(opening, return_exceptions=True)
            assert isinstance(failed, OSError), failed
            t.count("clients left")
        listener.close()
        await asyncio.sleep(0.05)

    t.run(main)
    t.errors.take()


def client_hello():
    import ssl

    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@case()
def half_closed(t):
    """`write_eof()` by one side, by the other, by both, with much data going the other way."""

    class HalfClosing(Recorder):
        def eof_received(self):
            super().eof_received()
            return True

    async def main(loop):
        for kind in ("tcp", "unix"):
            for _ in range(t.scale(60, 1000)):
                servers = []

                def factory():
                    servers.append(HalfClosing())
                    return servers[-1]

                async with serving(loop, kind, factory) as connect:
                    _, client = await connect(HalfClosing)
                    await eventually(lambda: servers)
                    ends = [client, servers[0]]
                    t.random.shuffle(ends)
                    first, second = ends
                    sizes = [t.random.choice((0, 10, 100_000, 2_000_000)) for _ in ends]
                    first.transport.write(bytes(sizes[0]))
                    first.transport.write_eof()
                    second.transport.write(bytes(sizes[1]))
                    if t.random.random() < 0.5:
                        await second.until_called("eof_received")
                        second.transport.write(bytes(sizes[1]))
                        sizes[1] *= 2
                    second.transport.write_eof()
                    for end in ends:
                        await end.until_called("eof_received")
                    assert len(second.data) == sizes[0]
                    assert len(first.data) == sizes[1]
                    for end in ends:
                        end.transport.close()
                        await end.lost
                        assert end.lost_with is None
                    t.count("connections half closed")
                    t.count("bytes checked", sum(sizes))

    t.run(main)


@case()
def slow_readers(t):
    """Fifty readers that take a little now and then: what waits stays below the marks."""

    async def main(loop):
        for kind in KINDS:
            highest = 0

            async def produce(reader, writer):
                nonlocal highest
                with contextlib.suppress(OSError):
                    while True:
                        writer.write(bytes(10_000))
                        await writer.drain()
                        highest = max(highest, writer.transport.get_write_buffer_size())

            async with serving(loop, kind, streams=produce) as connect:

                async def slow():
                    reader, writer = await connect()
                    for _ in range(t.scale(20, 400)):
                        await reader.read(t.random.randrange(1, 20_000))
                        await asyncio.sleep(t.random.random() * 0.01)
                        assert len(reader._buffer) <= 2 * 65536 + 262144
                    writer.transport.abort()

                await asyncio.gather(*(slow() for _ in range(20)))
            # The high mark, asyncio's for TLS too, and one write.
            assert highest <= (512 * 1024 if kind == "tls" else 65536) + 10_000, highest
            t.figure_max("bytes waiting at most", highest)

    t.run(main)
    t.errors.take()


ACTIONS = (
    "write",
    "write_much",
    "pause",
    "resume",
    "eof",
    "peer_writes",
    "peer_writes_much",
    "peer_eof",
    "turn",
    "turns",
    "protocol",
    "limits",
)


@case()
def closed_in_every_state(t):
    """Random actions on both ends, then `close()`, `abort()`, a reset or nothing but the end of
    the last reference: each end is told once, in order, and nothing is left."""

    async def main(loop):
        for at in range(t.scale(600, 20_000)):
            kind = KINDS[at % 3]
            servers = []

            def factory():
                servers.append(Recorder())
                return servers[-1]

            async with serving(loop, kind, factory) as connect:
                _, client = await connect(Recorder)
                await eventually(lambda: servers and servers[0].transport)
                server = servers[0]
                for _ in range(t.random.randrange(6)):
                    with contextlib.suppress(RuntimeError, NotImplementedError):
                        await act(t, t.random.choice(ACTIONS), client, server)
                first, second = t.random.choice(((client, server), (server, client)))
                t.random.choice((first.transport.close, first.transport.abort))()
                assert "connection_lost" not in first.calls or first.transport.is_closing()
                if t.random.random() < 0.3:
                    t.random.choice((second.transport.close, second.transport.abort))()
                second.transport.resume_reading()
                # Without reading, nobody notices an end.
                for end in (first, second):
                    try:
                        await asyncio.wait_for(asyncio.shield(end.lost), 0.2)
                    except TimeoutError:
                        t.count("ends that waited for their peer")
                        second.transport.abort()
                        first.transport.abort()
                        await asyncio.wait_for(end.lost, 5)
                for end in (first, second):
                    check_end(end)
                t.count("connections closed")

    t.run(main)
    t.errors.take()


async def act(t, action, ours, theirs):
    match action:
        case "write":
            ours.transport.write(b"some")
        case "write_much":
            ours.transport.write(bytes(1_000_000))
        case "pause":
            ours.transport.pause_reading()
        case "resume":
            ours.transport.resume_reading()
        case "eof":
            ours.transport.write_eof()
        case "peer_writes":
            theirs.transport.write(b"some")
        case "peer_writes_much":
            theirs.transport.write(bytes(1_000_000))
        case "peer_eof":
            theirs.transport.write_eof()
        case "turn":
            await asyncio.sleep(0)
        case "turns":
            await asyncio.sleep(0.001)
        case "protocol":
            ours.transport.set_protocol(ours)
        case "limits":
            ours.transport.set_write_buffer_limits(high=t.random.choice((0, 10, 100_000)))


@case()
def descriptors_that_are_closed_behind_its_back(t):
    """Numbers closed and used again without a word: nobody gets another's events, no spin, and
    what is registered anew works."""
    import os
    import time

    async def main(loop):
        for _ in range(t.scale(400, 10_000)):
            ours, peer = socket.socketpair()
            ours.setblocking(False)
            wrong, right = [], []
            loop.add_reader(ours.fileno(), wrong.append, 1)
            if t.random.random() < 0.3:
                loop.add_writer(ours.fileno(), lambda: None)
            await settle(t.random.randrange(2))
            number, duplicate = ours.fileno(), None
            if t.random.random() < 0.5:
                duplicate = os.dup(number)  # the kernel goes on reporting the old one
            ours.close()
            other, other_peer = socket.socketpair()
            other.setblocking(False)
            if other.fileno() != number:
                os.dup2(other.fileno(), number)
            if t.random.random() < 0.5:
                with contextlib.suppress(BrokenPipeError):
                    peer.send(b"x")
            other_peer.send(b"for the new owner")
            how = t.random.randrange(3)
            if how == 0:
                loop.add_reader(number, right.append, 1)
                await eventually(lambda: right)
                loop.remove_reader(number)
            elif how == 1 and other.fileno() == number:
                assert await loop.sock_recv(other, 100) == b"for the new owner"
            elif other.fileno() == number:
                _, protocol = await loop.create_connection(Recorder, sock=other)
                await protocol.until_data(5)
                protocol.transport.abort()
                await protocol.lost
                number = -1
            loop.remove_reader(number) if number >= 0 else None
            loop.remove_writer(number) if number >= 0 else None
            used = time.process_time()
            await asyncio.sleep(0.0005)
            assert time.process_time() - used < 0.05
            if number >= 0 and number != other.fileno():
                os.close(number)
            for sock in (other, other_peer, peer):
                sock.close()
            if duplicate is not None:
                os.close(duplicate)
            t.count("numbers used again")

    t.run(main)
