"""TLS in TLS: peers that send garbage, change bytes, cut the stream or leave, all of it inside the
layer below, which stays whole; and every end of each layer, at every moment."""

import asyncio
import contextlib
import socket

from case_sockets import ACTIONS, RESET, act, client_hello
from case_tls import SECRET, one_bit_changed
from cases import case
from support import Recorder
from tls_support import client_context, server_context
from workload import settle

CONTEXTS = client_context(), server_context()


class Pairs:
    """Opens connections with one layer, both ends of which are here."""

    def __init__(self, loop):
        self.loop = loop
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.listener.close()

    async def open(self, client_factory=Recorder, server_factory=Recorder):
        ours = socket.socket()
        ours.setblocking(False)
        await self.loop.sock_connect(ours, self.listener.getsockname())
        theirs, _ = await self.loop.sock_accept(self.listener)
        (_, client), (_, server) = await asyncio.gather(
            self.loop.create_connection(
                client_factory, sock=ours, ssl=CONTEXTS[0], server_hostname="localhost"
            ),
            self.loop.connect_accepted_socket(server_factory, theirs, ssl=CONTEXTS[1]),
        )
        return client, server


def protecting(loop, end, server_side, **options):
    """A task that begins a layer over what this end has."""
    names = {"server_side": True} if server_side else {"server_hostname": "localhost"}
    upgrading = loop.start_tls(end.transport, end, CONTEXTS[server_side], **names, **options)
    return loop.create_task(upgrading)


async def protect(loop, client, server):
    upgraded = await asyncio.gather(protecting(loop, client, False), protecting(loop, server, True))
    client.transport, server.transport = upgraded


def leave(how, transport):
    """Ends a connection, with a goodbye or without."""
    if how == "reset":
        with contextlib.suppress(OSError):  # it may be closed by now
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.close() if how == "close" else transport.abort()


async def lost(*ends):
    """Each end is told once, last, and why."""
    for end in ends:
        await asyncio.wait_for(end.lost, 10)
        assert end.calls.count("connection_lost") == 1, end.calls
        assert end.calls[-1] == "connection_lost", end.calls
        assert end.lost_with is None or isinstance(end.lost_with, OSError), end.lost_with


@case(seconds=30)
def garbage(t):
    """Random bytes for the inner handshake, or a part of one and then those, to both sides."""

    hello = client_hello()

    async def main(loop):
        with Pairs(loop) as pairs:
            for _ in range(t.scale(120, 5000)):
                ends = await pairs.open()
                server_side = t.random.random() < 0.5
                victim, peer = reversed(ends) if server_side else ends
                junk = t.random.randbytes(t.random.choice((1, 5, 300, 20_000)))
                if t.random.random() < 0.5:
                    # With the head of a record.
                    junk = (
                        bytes([t.random.choice((20, 21, 22, 23)), 3, t.random.randrange(5)]) + junk
                    )
                if server_side and t.random.random() < 0.3:
                    junk = hello[: t.random.randrange(len(hello))] + junk
                upgrading = protecting(loop, victim, server_side)
                await settle(t.random.randrange(1, 4))
                peer.transport.write(junk)
                await settle(t.random.randrange(4))
                leave(t.random.choice(("close", "abort", "reset")), peer.transport)
                (failed,) = await asyncio.gather(upgrading, return_exceptions=True)
                assert isinstance(failed, OSError), failed
                await lost(victim, peer)
                assert not victim.data, victim.data
                t.count("peers that sent garbage")

    t.run(main)
    t.errors.take()


class Between(asyncio.Protocol):
    """One of two ends back to back: passes on what it gets, changed as `change(data, at, outward)`
    says, and cuts where that says None."""

    def __init__(self, change, outward, way_to_leave):
        self.change, self.outward, self.way_to_leave = change, outward, way_to_leave
        self.at, self.seen = 0, bytearray()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        changed = self.change(data, self.at, self.outward)
        self.at += len(data)
        if changed is None:
            for end in (self, self.other):
                leave(self.way_to_leave, end.transport)
        elif not self.other.transport.is_closing():
            self.seen += changed
            self.other.transport.write(changed)

    def connection_lost(self, exc):
        self.other.transport.close()


async def through(t, loop, pairs, change, seconds=0.5):
    """Data through two layers, with somebody between who has opened the lower one: whether all
    arrived, and whether it looked like an end (those who have sent nothing may just leave)."""
    way_to_leave = t.random.choice(("close", "abort", "reset"))
    client, near = await pairs.open(Recorder, lambda: Between(change, True, way_to_leave))
    far, server = await pairs.open(lambda: Between(change, False, way_to_leave), Recorder)
    near.other, far.other = far, near
    times = {"ssl_handshake_timeout": seconds, "ssl_shutdown_timeout": seconds}
    opening = protecting(loop, client, False, **times)
    accepting = protecting(loop, server, True, **times)
    sent = (SECRET + t.random.randbytes(100)) * 50
    outcomes = await asyncio.gather(opening, accepting, return_exceptions=True)
    for end, outcome in zip((client, server), outcomes, strict=True):
        if isinstance(outcome, asyncio.Transport):
            end.transport = outcome
        else:
            assert isinstance(outcome, OSError), outcome
    if isinstance(outcomes[0], asyncio.Transport):
        client.transport.write(sent)
        client.transport.close()
    await lost(client, server)
    assert SECRET not in near.seen
    assert not client.data
    assert sent.startswith(server.data), "something arrived that was not sent"
    clean = server.lost_with is None and "eof_received" in server.calls
    return sent == server.data, clean and len(server.data) > 0


@case(seconds=30)
def changed_on_the_way(t):
    """One bit of the inner layer is changed: what arrives is a beginning of what was sent."""

    async def main(loop):
        with Pairs(loop) as pairs:
            whole, _ = await through(t, loop, pairs, lambda data, at, outward: data, 10)
            assert whole
            for _ in range(t.scale(60, 2000)):
                await through(t, loop, pairs, one_bit_changed(t))
                t.count("connections changed")

    t.run(main)
    t.errors.take()


@case(seconds=30)
def cut_on_the_way(t):
    """The inner layer is cut, in its handshake or later, by a lower layer that says goodbye or
    not: the reader never takes it for the end."""

    async def main(loop):
        with Pairs(loop) as pairs:
            for _ in range(t.scale(80, 2000)):
                place = t.random.randrange(t.random.choice((1_000, 3_000, 10_000)))

                def change(data, at, outward):
                    if outward and at <= place < at + len(data):
                        return None
                    return data

                whole, clean = await through(t, loop, pairs, change)
                assert whole or not clean, "cut, and it looked like an end"
                t.count("connections cut")

    t.run(main)
    t.errors.take()


@case(seconds=30)
def left_in_the_inner_handshake(t):
    """At any turn of the handshake somebody gives up, or the layer below ends or is reset."""

    async def main(loop):
        with Pairs(loop) as pairs:
            for _ in range(t.scale(150, 5000)):
                ends = await pairs.open()
                below = [end.transport for end in ends]
                upgrading = [protecting(loop, end, at) for at, end in enumerate(ends)]
                await settle(t.random.randrange(1, 12))
                for at in t.random.choice(((0,), (1,), (0, 1))):
                    how = t.random.choice(("cancel", "close", "abort", "reset"))
                    if how == "cancel":
                        upgrading[at].cancel()
                    else:
                        leave(how, below[at])
                    await settle(t.random.randrange(3))
                outcomes = await asyncio.gather(*upgrading, return_exceptions=True)
                for outcome in outcomes:
                    if isinstance(outcome, asyncio.Transport):
                        outcome.abort()
                    else:
                        # None: the layer below had been closed before.
                        assert outcome is None or isinstance(
                            outcome, (OSError, asyncio.CancelledError)
                        ), repr(outcome)
                for transport in below:
                    transport.abort()
                await lost(*ends)
                assert not ends[0].data and not ends[1].data
                t.count("handshakes left")

    t.run(main)
    t.errors.take()


@case(seconds=30)
def closed_in_every_state(t):
    """Random actions on both ends of two or three layers, then `close()`, `abort()` or a reset of
    any of them: each end is told once, in order, and nothing is left."""

    async def main(loop):
        with Pairs(loop) as pairs:
            for _ in range(t.scale(200, 8000)):
                client, server = await pairs.open()
                layers = {client: [client.transport], server: [server.transport]}
                for _ in range(t.random.choice((1, 1, 2))):
                    await protect(loop, client, server)
                    for end in layers:
                        layers[end].append(end.transport)
                for _ in range(t.random.randrange(6)):
                    ends = t.random.choice(((client, server), (server, client)))
                    with contextlib.suppress(RuntimeError, NotImplementedError):
                        await act(t, t.random.choice(ACTIONS), *ends)
                first, second = t.random.choice(((client, server), (server, client)))
                how = t.random.choice(("close", "abort", "reset"))
                leave(how, t.random.choice(layers[first]))
                if t.random.random() < 0.3:
                    leave(t.random.choice(("close", "abort")), t.random.choice(layers[second]))
                second.transport.resume_reading()
                # Without reading, nobody notices an end.
                for end in (first, second):
                    try:
                        await asyncio.wait_for(asyncio.shield(end.lost), 0.2)
                    except TimeoutError:
                        t.count("ends that waited for their peer")
                        second.transport.abort()
                        first.transport.abort()
                await lost(first, second)
                t.count("connections closed")

    t.run(main)
    t.errors.take()
