"""Cancelled at any moment: whatever was being opened leaves no descriptor, task or process."""

import asyncio
import socket
import sys
import threading

import pytest
from support import Recorder, eventually, spin
from tls_support import client_context, server_context

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


class Opening:
    """Ways to open something: coroutines, and what they need."""

    def __init__(self, loop, listener, folder):
        self.loop, self.address, self.folder = loop, listener.getsockname(), folder
        self.things = []

    def pair(self):
        ours, peer = socket.socketpair()
        self.things += [ours, peer]
        return ours

    def resolve_to(self, *addresses):
        async def getaddrinfo(host, port, **options):
            await asyncio.sleep(0)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", each) for each in addresses]

        self.loop.getaddrinfo = getaddrinfo

    def connection(self):
        return self.loop.create_connection(Recorder, *self.address)

    def connection_by_name(self):
        return self.loop.create_connection(Recorder, "localhost", self.address[1])

    def happy_eyeballs(self):
        self.resolve_to(("127.0.0.2", 9), self.address, self.address)
        return self.loop.create_connection(Recorder, "x.invalid", 1, happy_eyeballs_delay=0.001)

    def from_a_local_address(self):
        local = ("127.0.0.1", 0)
        return self.loop.create_connection(Recorder, *self.address, local_addr=local)

    def unix_connection(self):
        path = str(self.folder / "socket")
        sock = socket.socket(socket.AF_UNIX)
        self.things.append(sock)
        sock.bind(path)
        sock.listen()
        return self.loop.create_unix_connection(Recorder, path)

    def accepted(self):
        return self.loop.connect_accepted_socket(Recorder, self.pair())

    def tls(self):
        async def both():
            ours, peer = self.pair(), self.things[-1]
            accept = self.loop.connect_accepted_socket(Recorder, peer, ssl=server_context())
            accepting = self.loop.create_task(accept)
            try:
                return await self.loop.create_connection(
                    Recorder, sock=ours, ssl=client_context(), server_hostname="localhost"
                )
            finally:
                accepting.cancel()
                (other,) = await asyncio.gather(accepting, return_exceptions=True)
                if isinstance(other, tuple):
                    other[0].abort()

        return both()

    def server(self):
        return self.loop.create_server(Recorder, "127.0.0.1", 0)

    def unix_server(self):
        return self.loop.create_unix_server(Recorder, str(self.folder / "socket"))

    def datagrams(self):
        return self.loop.create_datagram_endpoint(Recorder, ("127.0.0.1", 0))

    def subprocess(self):
        return self.loop.subprocess_exec(asyncio.SubprocessProtocol, *SLEEP)


WAYS = [name for name in vars(Opening) if not name.startswith(("_", "pair", "resolve"))]


async def let_go(opened):
    """Close whatever an opening gave."""
    opened = opened[0] if isinstance(opened, tuple) else opened
    opened.close()
    if hasattr(opened, "_wait"):
        await opened._wait()
    for _ in range(3):
        await asyncio.sleep(0)


ORPHAN = "a server that is cancelled as it starts to serve goes on serving"
WAYS = [
    pytest.param(way, marks=pytest.mark.asyncio_wrong(ORPHAN, strict=False))
    if way == "unix_server"
    else way
    for way in WAYS
]


@pytest.mark.asyncio_wrong(ORPHAN)
@pytest.mark.parametrize("kind", ["create_server", "create_unix_server"])
def test_a_server_that_nobody_got_is_closed(loop, run, tmp_path, cleanup, kind):
    sock = socket.socket(socket.AF_UNIX if "unix" in kind else socket.AF_INET)
    cleanup.append(sock)
    if "unix" in kind:
        sock.bind(str(tmp_path / "socket"))

    async def main():
        task = loop.create_task(getattr(loop, kind)(Recorder, sock=sock))
        await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(main())
    assert sock.fileno() == -1


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left(loop, run, listener, tmp_path_factory, errors, way):
    threads = threading.active_count()

    async def cancelled_after(turns):
        """Whether the opening took longer than that."""
        opening = Opening(loop, listener, tmp_path_factory.mktemp("folder"))
        task = loop.create_task(getattr(opening, way)())
        for _ in range(turns):
            await asyncio.sleep(0)
        late = not task.done()
        task.cancel()
        try:
            await let_go(await task)
        except asyncio.CancelledError:
            pass
        await asyncio.sleep(0.002)
        for thing in opening.things:
            thing.close()
        await eventually(lambda: len(asyncio.all_tasks()) == 1)
        return late

    async def main():
        for turns in range(12):
            if not await cancelled_after(turns):
                break

    run(main())
    run(loop.shutdown_default_executor())
    spin(loop)
    assert threading.active_count() == threads
    # A child whose making is cut short is killed, and its protocol may hear of it.
    errors.take()
