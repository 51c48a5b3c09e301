"""A listener that is under water, and comes up again."""

import asyncio
import resource
import socket
import time

from cases import case
from support import spin
from workload import Echo, check_echo, serving


@case(fds=64)
def more_connections_than_descriptors(t):
    """Many clients, descriptors for a few: each is served in the end."""

    async def main(loop):
        async with serving(loop, "tcp") as connect:
            served, at_once = 0, asyncio.Semaphore(40)

            async def client():
                nonlocal served
                async with at_once:
                    reader, writer = await connect()
                    # Those that have to wait are served when others have gone.
                    await check_echo(reader, writer, t.random, 2000)
                    served += 1
                    writer.close()

            clients = t.scale(100, 1000)
            await asyncio.wait_for(asyncio.gather(*(client() for _ in range(clients))), 100)
            assert served == clients
            t.count("connections", served)

    t.run(main)
    # One report for each episode.
    reports = t.errors.take()
    assert all(isinstance(report["exception"], OSError) for report in reports)
    t.count("episodes reported", len(reports))


@case(fds=100)
def out_of_descriptors_again_and_again(t):
    """Starved and freed at random: idle while starved, everybody is accepted in the end."""

    async def main(loop):
        async with serving(loop, "tcp") as connect:
            for _ in range(t.scale(4, 60)):
                clients = [socket.socket() for _ in range(5)]
                hoard = []
                try:
                    while True:
                        hoard.append(socket.socket())
                except OSError:
                    pass
                for client in clients:
                    client.setblocking(False)
                    client.connect_ex(connect.address)
                used = time.process_time()
                await asyncio.sleep(0.1)
                used = time.process_time() - used
                assert used < 0.05, f"spinning: {used} s of 0.1 s"
                for sock in hoard:
                    sock.close()
                for client in clients:
                    await loop.sock_sendall(client, b"x")
                    assert await asyncio.wait_for(loop.sock_recv(client, 10), 10) == b"x"
                    client.close()
                t.count("episodes")

    t.run(main)
    t.errors.take()


@case()
def resets_before_they_are_accepted(t):
    """Connections that are reset while they wait in the backlog, between good ones."""

    async def main(loop):
        async with serving(loop, "tcp") as connect:
            for _ in range(t.scale(150, 5000)):
                for _ in range(t.random.randrange(8)):
                    with socket.create_connection(connect.address) as sock:
                        # linger 0: closing resets
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, *[0] * 7]))
                        if t.random.random() < 0.5:
                            sock.send(b"some")
                    t.count("resets")
                reader, writer = await connect()
                writer.write(b"line\n")
                assert await reader.readline() == b"line\n"
                writer.close()

    t.run(main)


@case()
def descriptors_run_out_everywhere(t):
    """Every call that opens something, with 0, 1, 2, ... descriptors left: an OSError or a result,
    and nothing is left."""

    import sys

    listening = socket.create_server(("127.0.0.1", 0), backlog=500)
    address = listening.getsockname()

    async def close(opened):
        opened = opened[-1] if isinstance(opened, tuple) else opened
        opened = getattr(opened, "transport", opened)
        if hasattr(opened, "wait"):
            await opened.wait()
            opened = opened._transport
        opened.close()
        await asyncio.sleep(0.01)

    def ways(loop):
        yield "connect", lambda: loop.create_connection(Echo, *address)
        yield "by name", lambda: loop.create_connection(Echo, "localhost", address[1])
        yield "serve", lambda: loop.create_server(Echo, "127.0.0.1", 0)
        yield "datagrams", lambda: loop.create_datagram_endpoint(Echo, ("127.0.0.1", 0))
        yield (
            "process",
            lambda: asyncio.create_subprocess_exec(
                sys.executable, "-S", "-c", "", stdin=-1, stdout=-1
            ),
        )
        yield "streams", lambda: asyncio.open_connection(*address)

    def attempt(loop, open_it, left):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Fill the holes below, then leave some.
        hoard = [socket.socket() for _ in range(left)]
        try:
            while True:
                sock = socket.socket()
                if sock.fileno() >= 150:
                    sock.close()
                    break
                hoard.append(sock)
        except OSError:
            pass
        keep = hoard[left:]
        for sock in hoard[:left]:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (150, hard))
        try:
            opened = loop.run_until_complete(asyncio.wait_for(open_it(), 10))
        except OSError:
            opened = None
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for sock in keep:
                sock.close()
        if opened:
            loop.run_until_complete(close(opened))
        return opened is not None

    for at in range(len(list(ways(None)))):
        for left in range(t.scale(12, 20)):
            with t.loop() as loop:
                _, open_it = list(ways(loop))[at]
                if t.random.random() < 0.5:
                    spin(loop)  # the poller is made, or is not
                attempt(loop, open_it, left)
                spin(loop)
                t.count("attempts")
    listening.close()
    t.errors.take()
