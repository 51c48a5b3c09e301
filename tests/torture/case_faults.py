"""System calls that fail, by strace: every so many calls of one kind answer with one errno.

What is transparent (EINTR, EAGAIN) may not be seen at all. What is an error may end what it hit,
with an OSError; the rest goes on, every byte that arrives is right, and nothing hangs.
"""

import asyncio
import contextlib
import hashlib
import logging
import socket
import subprocess
import time

from cases import case
from support import Recorder
from workload import Echo, check_echo, echo_streams, serving


async def transfers(t, loop, kind, tolerant):
    """Echoes over a few connections: (how many were whole, how many ended with an error)."""
    whole = failed = 0
    async with serving(loop, kind, streams=echo_streams) as connect:

        async def one():
            nonlocal whole, failed
            writer = None
            try:
                async with asyncio.timeout(8):
                    reader, writer = await connect()
                    await check_echo(reader, writer, t.random, 100_000)
                whole += 1
            except TimeoutError:
                raise  # an OSError, too
            except (OSError, EOFError):
                if not tolerant:
                    raise
                failed += 1
            finally:
                if writer:
                    writer.transport.abort()

        for _ in range(4):
            await asyncio.gather(*(one() for _ in range(4)))
    return whole, failed


def transfer_case(call, errno, tolerant, when):
    def fails(t):
        async def main(loop):
            for kind in ("tcp", "unix", "tls"):
                while True:
                    try:
                        whole, failed = await transfers(t, loop, kind, tolerant)
                        break
                    except OSError as exc:
                        # The server could not even begin.
                        if not tolerant or isinstance(exc, TimeoutError):
                            raise
                assert whole + failed == 16
                t.count("connections whole", whole)
                t.count("connections failed", failed)

        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        t.run(main)
        t.errors.take()

    inject = f"{call}:error={errno}:when={when}"
    case(seconds=30, inject=[inject], name=f"{call.partition(',')[0]}_{errno}")(fails)


SEEN = True
for call, errnos in {
    "epoll_pwait,epoll_pwait2": [("EINTR", False)],
    "epoll_ctl": [("ENOMEM", SEEN), ("ENOSPC", SEEN)],
    "recvfrom": [("EINTR", False), ("EAGAIN", False), ("ENOMEM", SEEN), ("ECONNRESET", SEEN)],
    "sendto": [("EINTR", False), ("EAGAIN", False), ("ENOBUFS", SEEN), ("ENOMEM", SEEN)],
    "sendmsg": [("EINTR", False), ("EAGAIN", False), ("ENOBUFS", SEEN)],
    "accept4": [
        ("EINTR", False),
        ("EAGAIN", False),
        ("ECONNABORTED", False),
        ("EMFILE", False),
        ("ENOBUFS", False),
        ("ENOMEM", False),
        ("EPROTO", False),
    ],
    "connect": [("EINTR", SEEN), ("EAGAIN", SEEN), ("ENETUNREACH", SEEN)],
}.items():
    for errno, tolerant in errnos:
        # Of calls that are rare, more fail.
        rare = call in ("accept4", "connect", "epoll_ctl")
        # Behind a shortage, accepting rests for a second.
        rests = call == "accept4" and errno in ("EMFILE", "ENOBUFS", "ENOMEM")
        transfer_case(call, errno, tolerant, "3+15" if rests else "3+3" if rare else "5+7")


@case(seconds=30, inject=["epoll_pwait2:error=ENOSYS"])
def epoll_pwait2_of_an_old_kernel(t):
    """The loop does without; a sleep is never too short."""

    async def main(loop):
        for delay in (0.0001, 0.001, 0.0105):
            began = loop.time()
            await asyncio.sleep(delay)
            assert loop.time() - began >= delay
        whole, _ = await transfers(t, loop, "tcp", False)
        assert whole == 16

    t.run(main)


def poller_case(call, errno):
    def fails(t):
        """A poller that cannot be made, at first: timers and threads are served meanwhile."""
        with t.loop() as loop:
            ran = []
            loop.call_later(0.01, ran.append, 1)

            async def main():
                await asyncio.sleep(0.05)
                assert ran
                whole, _ = await transfers(t, loop, "tcp", False)
                assert whole == 16

            loop.run_until_complete(main())

    case(seconds=30, inject=[f"{call}:error={errno}:when=1..3"], name=f"{call}_{errno}")(fails)


poller_case("epoll_create1", "EMFILE")
poller_case("eventfd2", "EMFILE")


def child_case(call, errno, when="2+3"):
    def fails(t):
        """A child is started or an OSError says why not; none is left, and none is lost."""

        async def main(loop):
            for _ in range(12):
                try:
                    child = await asyncio.create_subprocess_exec(
                        "/bin/cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE
                    )
                except OSError:
                    t.count("children refused")
                    continue
                try:
                    output, _ = await asyncio.wait_for(child.communicate(b"data"), 10)
                except OSError:
                    # A pipe that cannot be watched: that is said.
                    assert call == "epoll_ctl"
                    t.count("children cut off")
                    child.kill()
                    await child.wait()
                    continue
                assert child.returncode == 0
                assert output == b"data"
                t.count("children")

        t.run(main)
        t.errors.take()

    inject = f"{call}:error={errno}:when={when}"
    case(seconds=30, inject=[inject], name=f"children_{call}_{errno}")(fails)


for errno in ("EMFILE", "ENOMEM", "ENOSYS", "EPERM"):
    child_case("pidfd_open", errno, "1+2")
child_case("waitid", "EINTR")
child_case("epoll_ctl", "ENOSPC")
child_case("epoll_ctl", "ENOMEM")
child_case("pipe2", "EMFILE")


def datagram_case(call, errno):
    def fails(t):
        """Datagrams may be lost, the endpoint may not: each error is told, and it goes on."""

        async def main(loop):
            received, errors = [], []

            class Endpoint(asyncio.DatagramProtocol):
                def datagram_received(self, data, address):
                    received.append(data)

                def error_received(self, exc):
                    errors.append(exc)

            transport, _ = await loop.create_datagram_endpoint(Endpoint, ("127.0.0.1", 0))
            address = transport.get_extra_info("sockname")
            for at in range(300):
                transport.sendto(str(at).encode(), address)
                if at % 10 == 0:
                    await asyncio.sleep(0.001)
            end = time.monotonic() + 10
            while len(received) + len(errors) < 300 and time.monotonic() < end:
                await asyncio.sleep(0.01)
                if not errno.startswith("E") or errno in ("EINTR", "EAGAIN"):
                    continue
                if len(received) > 100:
                    break
            if errno in ("EINTR", "EAGAIN"):
                assert received == [str(at).encode() for at in range(300)], len(received)
            assert len(received) > 100
            t.count("datagrams", len(received))
            t.count("errors told", len(errors))
            transport.close()
            await asyncio.sleep(0)

        t.run(main)
        t.errors.take()

    inject = f"{call}:error={errno}:when=3+4"
    case(seconds=30, inject=[inject], name=f"datagrams_{call}_{errno}")(fails)


for call in ("recvmmsg", "sendmmsg", "sendto"):
    for errno in ("EINTR", "EAGAIN", "ENOBUFS" if call != "recvmmsg" else "ENOMEM"):
        datagram_case(call, errno)


@case(seconds=30, inject=["sendfile:error=EINTR:when=2+3"])
def sendfile_interrupted(t):
    send_a_file(t)


@case(seconds=30, inject=["sendfile:error=EAGAIN:when=2+3"])
def sendfile_blocked(t):
    send_a_file(t)


@case(seconds=30, inject=["sendfile:error=ENOSYS"])
def sendfile_of_an_old_kernel(t):
    send_a_file(t)


def send_a_file(t):
    import tempfile

    async def main(loop):
        async with serving(loop, "tcp", streams=echo_streams) as connect:
            data = t.random.randbytes(5_000_000)
            with tempfile.TemporaryFile() as file:
                file.write(data)
                transport, protocol = await connect(Recorder)
                await loop.sendfile(transport, file, 0)
                await protocol.until_data(len(data))
                assert hashlib.sha256(protocol.data).digest() == hashlib.sha256(data).digest()
                t.count("bytes checked", len(data))
                transport.close()
                await protocol.lost

    t.run(main)


def pipe_case(call, errno, when):
    def fails(t):
        """Pipes under the faults of `read` and `write`, which Python's own files get, too."""

        async def main(loop):
            child = await asyncio.create_subprocess_exec(
                "/bin/cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            data = t.random.randbytes(1_000_000)
            output, _ = await asyncio.wait_for(child.communicate(data), 20)
            assert output == data
            t.count("bytes checked", len(data))

        t.run(main)

    inject = f"{call}:error={errno}:when={when}"
    case(seconds=30, inject=[inject], name=f"pipes_{call}_{errno}")(fails)


pipe_case("read", "EINTR", "260+7")
pipe_case("write", "EINTR", "1+3")


def sock_case(call, errno):
    def fails(t):
        """`sock_*` calls: transparent faults are not seen."""

        async def main(loop):
            for _ in range(30):
                ours, theirs = socket.socketpair()
                ours.setblocking(False)
                theirs.setblocking(False)
                data = t.random.randbytes(300_000)

                async def receive(theirs=theirs):
                    got = bytearray()
                    while len(got) < len(data):
                        got += await loop.sock_recv(theirs, 100_000)
                    return bytes(got)

                _, got = await asyncio.gather(loop.sock_sendall(ours, data), receive())
                assert got == data
                t.count("bytes checked", len(data))
                ours.close()
                theirs.close()

        t.run(main)

    inject = f"{call}:error={errno}:when=3+4"
    case(seconds=30, inject=[inject], name=f"sock_{call}_{errno}")(fails)


for call in ("recvfrom", "sendto"):
    for errno in ("EINTR", "EAGAIN"):
        sock_case(call, errno)


@case(seconds=30, inject=["recvfrom:error=EINTR:when=2+2", "sendto:error=EAGAIN:when=3+3"])
def a_slow_peer_and_interruptions(t):
    """Protocols, with what is written in one go, under both at once."""

    async def main(loop):
        async with serving(loop, "tcp", Echo) as connect:
            for _ in range(20):
                transport, protocol = await connect(Recorder)
                data = t.random.randbytes(400_000)
                transport.write(data)
                await asyncio.wait_for(protocol.until_data(len(data)), 20)
                assert protocol.data == data
                t.count("bytes checked", len(data))
                with contextlib.suppress(OSError):
                    transport.close()
                    await protocol.lost

    t.run(main)
