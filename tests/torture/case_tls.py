"""TLS against peers that send garbage, change bytes, cut the stream, inject plaintext."""

import asyncio
import contextlib
import socket
import ssl

from cases import case
from support import Recorder, eventually
from tls_support import client_context, server_context
from workload import Echo, serving, settle


@case(seconds=30)
def garbage(t):
    """Random bytes, to servers and to clients: an error or nothing, and never data."""

    async def main(loop):
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        trusted = client_context()
        async with serving(loop, "tls", Recorder) as connect:
            for _ in range(t.scale(200, 5000)):
                junk = t.random.randbytes(t.random.choice((1, 5, 300, 20_000)))
                if t.random.random() < 0.5:
                    # With the head of a record.
                    kind = t.random.choice((20, 21, 22, 23))
                    junk = bytes([kind, 3, t.random.randrange(5)]) + junk
                sock = socket.create_connection(connect.address)
                sock.setblocking(False)
                with contextlib.suppress(OSError):
                    await loop.sock_sendall(sock, junk)
                await settle()
                sock.close()

                opening = asyncio.ensure_future(
                    loop.create_connection(
                        Recorder, *listener.getsockname(), ssl=trusted, server_hostname="localhost"
                    )
                )
                peer, _ = await loop.sock_accept(listener)
                with contextlib.suppress(OSError):
                    await loop.sock_sendall(peer, junk)
                peer.shutdown(socket.SHUT_WR)
                (failed,) = await asyncio.gather(opening, return_exceptions=True)
                assert isinstance(failed, OSError), failed
                peer.close()
                t.count("peers that sent garbage", 2)
        listener.close()
        await asyncio.sleep(0.05)

    t.run(main)
    t.errors.take()


class Middle:
    """Passes bytes on between two sockets, changed as `change(data, at)` says; None cuts."""

    def __init__(self, loop, listener, address, change):
        self.loop, self.listener, self.address, self.change = loop, listener, address, change
        self.seen = bytearray()

    async def run(self):
        near, _ = await self.loop.sock_accept(self.listener)
        far = socket.socket()
        far.setblocking(False)
        await self.loop.sock_connect(far, self.address)
        try:
            await asyncio.gather(self.copy(near, far, True), self.copy(far, near, False))
        except OSError:
            pass
        finally:
            near.close()
            far.close()

    async def copy(self, source, target, outward):
        at = 0
        while data := await self.loop.sock_recv(source, 3000):
            changed = self.change(data, at, outward)
            at += len(data)
            if changed is None:
                raise ConnectionError("cut")
            self.seen += changed
            await self.loop.sock_sendall(target, changed)
        target.shutdown(socket.SHUT_WR)


SECRET = b"plaintext that nobody may see"


def one_bit_changed(t):
    """A change for who is in the middle: of one bit of either way, more often of ours."""
    place, way = t.random.randrange(12_000), t.random.random() < 0.7

    def change(data, at, outward):
        if outward == way and at <= place < at + len(data):
            data = bytearray(data)
            data[place - at] ^= 1 << t.random.randrange(8)
        return bytes(data)

    return change


async def through(t, loop, change):
    """Data through a TLS connection with somebody in the middle: (what arrived, how it ended)."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    servers = []

    def factory():
        servers.append(Recorder())
        return servers[-1]

    async with serving(loop, "tls", factory) as connect:
        middle = Middle(loop, listener, connect.address, change)
        passing = asyncio.ensure_future(middle.run())
        opening = loop.create_connection(
            Recorder,
            *listener.getsockname(),
            ssl=client_context(),
            server_hostname="localhost",
            ssl_handshake_timeout=2,
            ssl_shutdown_timeout=1,
        )
        sent = (SECRET + t.random.randbytes(100)) * 50
        try:
            _, client = await opening
        except OSError as exc:
            outcome = exc
        else:
            client.transport.write(sent)
            client.transport.close()
            await asyncio.wait_for(client.lost, 10)
            outcome = client.lost_with
        passing.cancel()
        await asyncio.gather(passing, return_exceptions=True)
        for server in servers:
            if server.transport:
                await asyncio.wait_for(server.lost, 10)
        assert SECRET not in middle.seen
        received = servers[0].data if servers else b""
        assert sent.startswith(received), "something arrived that was not sent"
        clean = (
            bool(servers) and servers[0].lost_with is None and "eof_received" in servers[0].calls
        )
    listener.close()
    return sent == received, clean, outcome


@case(seconds=30)
def changed_on_the_way(t):
    """One bit is changed, somewhere: whatever arrives is a beginning of what was sent, and a
    change of the data is an error for its reader."""

    async def main(loop):
        whole, _, _ = await through(t, loop, lambda data, at, outward: data)
        assert whole
        for _ in range(t.scale(100, 2000)):
            await through(t, loop, one_bit_changed(t))
            t.count("connections changed")

    t.run(main)
    t.errors.take()


@case(seconds=30)
def cut_on_the_way(t):
    """The stream is cut somewhere: the reader never takes it for the end."""

    async def main(loop):
        for _ in range(t.scale(100, 2000)):
            place = t.random.randrange(10_000)

            def change(data, at, outward):
                if outward and at <= place < at + len(data):
                    return None
                return data

            whole, clean, _ = await through(t, loop, change)
            assert whole or not clean, "cut, and it looked like an end"
            t.count("connections cut")

    t.run(main)
    t.errors.take()


@case()
def plaintext_before_the_handshake(t):
    """What comes before the handshake (as somebody would inject it at STARTTLS) is never
    delivered as if it had been protected."""

    async def main(loop):
        for _ in range(t.scale(100, 3000)):
            ours, theirs = socket.socketpair()
            injected = t.random.choice((b"INJECTED\r\n", b"I" * 5000, b"I"))
            transport, protocol = await loop.create_connection(Recorder, sock=ours)
            accepted = asyncio.ensure_future(
                loop.connect_accepted_socket(
                    lambda: Recorder(connection_made=lambda made: made.write(b"protected")),
                    theirs,
                    ssl=server_context(),
                )
            )
            # Their side of the socket pair, before the server says anything.
            theirs.send(injected)
            await settle(t.random.randrange(3))
            seen = bytes(protocol.data)
            protocol.data.clear()
            try:
                secure = await loop.start_tls(
                    transport, protocol, client_context(), server_hostname="localhost"
                )
            except OSError:
                pass
            else:
                await eventually(lambda: protocol.data or "connection_lost" in protocol.calls)
                secure.abort()
            # It came before the protection began, or it did not come.
            assert b"I" not in protocol.data.removeprefix(injected), protocol.data
            if protocol.data.startswith(b"I"):
                raise AssertionError("delivered after start_tls()")
            assert injected.startswith(seen)
            (server,) = await asyncio.gather(accepted, return_exceptions=True)
            if isinstance(server, tuple):
                server[0].abort()
            transport.abort()
            ours.close()
            theirs.close()
            await settle()
            t.count("injections")

    t.run(main)
    t.errors.take()


@case(seconds=30)
def renewed_keys_and_odd_records(t):
    """A peer that renews its keys in the middle and sends records of every size."""

    async def main(loop):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = server_context()
            context.maximum_version = version
            for _ in range(t.scale(15, 300)):
                server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=context)
                address = server.sockets[0].getsockname()
                sent = [t.random.randbytes(t.random.randrange(1, 40_000)) for _ in range(10)]

                def talk():
                    with socket.create_connection(address) as plain:
                        wrapped = client_context().wrap_socket(plain, server_hostname="localhost")
                        with wrapped as sock:
                            for data in sent:
                                sock.sendall(data)
                                got = bytearray()
                                while len(got) < len(data):
                                    got += sock.recv(100_000)
                                assert got == data

                await asyncio.to_thread(talk)
                t.count("bytes checked", sum(map(len, sent)))
                server.close()
                await settle()
        await loop.shutdown_default_executor()

    t.run(main)
