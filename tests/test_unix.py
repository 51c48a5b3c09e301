"""Unix sockets: paths of every kind, stale files, cleaning up, wrong sockets."""

import asyncio
import contextlib
import errno
import os
import pathlib
import socket
import sys
import tempfile

import pytest
from support import Recorder, eventually, since, spin
from tls_support import client_context, server_context


@pytest.fixture
def folder():
    """A folder with a path short enough for a socket address."""
    with tempfile.TemporaryDirectory(prefix="oxloop-") as name:
        yield pathlib.Path(name)


@pytest.fixture
def path(folder):
    return folder / "socket"


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


@contextlib.asynccontextmanager
async def serving(loop, where, **options):
    server = await loop.create_unix_server(Echo, where, **options)
    try:
        yield server
    finally:
        server.close()
        await server.wait_closed()


async def echo_once(loop, where, **options):
    transport, protocol = await loop.create_unix_connection(Recorder, where, **options)
    transport.write(b"ping")
    await protocol.until_data(4)
    transport.close()
    await protocol.lost
    assert protocol.data == b"ping"
    return transport


KINDS = {
    "str": str,
    "bytes": os.fsencode,
    "path": pathlib.Path,
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_paths(loop, run, path, kind):
    where = KINDS[kind](path)

    async def main():
        async with serving(loop, where):
            assert path.is_socket()
            await echo_once(loop, where)

    run(main())
    spin(loop)


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
@pytest.mark.parametrize("kind", [str, os.fsencode])
def test_abstract_names(loop, run, kind):
    where = kind(f"\0oxloop-test-{os.getpid()}")

    async def main():
        async with serving(loop, where):
            await echo_once(loop, where)

    run(main())
    spin(loop)


def test_a_client_without_a_name(loop, run, path):
    names = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport):
            names.append(transport.get_extra_info("peername"))
            transport.close()

    async def main():
        server = await loop.create_unix_server(Server, path)
        transport, protocol = await loop.create_unix_connection(Recorder, path)
        await protocol.lost
        server.close()

    run(main())
    assert names == [""]


def test_extra_info(loop, run, path):
    async def main():
        async with serving(loop, path):
            transport = await echo_once(loop, path)
            assert transport.get_extra_info("peername") == str(path)
            assert transport.get_extra_info("sockname") == ""

    run(main())
    spin(loop)


@pytest.mark.oxloop_only
@pytest.mark.parametrize("after", ["open", "closed"])
def test_credentials_of_the_peer(loop, run, path, after):
    """An addition of oxloop's: get_extra_info("peercred")."""
    expected = (os.getpid(), os.getuid(), os.getgid())
    accepted = []

    def keep():
        accepted.append(Recorder())
        return accepted[-1]

    async def main():
        server = await loop.create_unix_server(keep, path)
        transport, protocol = await loop.create_unix_connection(Recorder, path)
        await eventually(lambda: accepted and accepted[0].transport)
        other = accepted[0].transport
        assert other.get_extra_info("peercred") == expected
        if after == "closed":
            transport.close()
            await protocol.lost
            await accepted[0].lost
        assert transport.get_extra_info("peercred") == expected
        assert other.get_extra_info("peercred") == expected
        transport.close()
        server.close()
        await server.wait_closed()

    run(main())


def test_only_unix_sockets_have_credentials(loop, run, listener):
    transport, protocol = run(loop.create_connection(Recorder, *listener.getsockname()))
    assert transport.get_extra_info("peercred") is None
    assert transport.get_extra_info("peercred", 5) == 5
    transport.abort()
    run(protocol.lost)


def test_over_tls(loop, run, path):
    async def main():
        async with serving(loop, path, ssl=server_context()):
            await echo_once(loop, path, ssl=client_context(), server_hostname="localhost")

    run(main())
    spin(loop)


def test_streams(loop, run, path):
    async def hello(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    async def main():
        server = await asyncio.start_unix_server(hello, path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello\n")
        assert await reader.read() == b"hello\n"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())
    spin(loop)


# ── the file ─────────────────────────────────────────────────────────────────────────────────


def test_a_stale_socket_file_is_replaced(loop, run, path):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    async def main():
        async with serving(loop, path):
            await echo_once(loop, path)

    run(main())
    spin(loop)


def test_a_regular_file_is_not_replaced(loop, run, path):
    path.write_text("precious")
    with pytest.raises(OSError, match="is already in use") as caught:
        run(loop.create_unix_server(Echo, path))
    assert caught.value.errno == errno.EADDRINUSE
    assert path.read_text() == "precious"


def test_a_missing_folder(loop, run, folder):
    with pytest.raises(FileNotFoundError):
        run(loop.create_unix_server(Echo, folder / "missing" / "socket"))


@since(3, 13)
def test_close_removes_the_file(loop, run, path):
    async def main():
        async with serving(loop, path):
            pass

    run(main())
    assert not path.exists()


@since(3, 13)
def test_close_keeps_the_file_when_told_so(loop, run, path):
    async def main():
        async with serving(loop, path, cleanup_socket=False):
            pass

    run(main())
    assert path.exists()


@since(3, 13)
def test_close_keeps_the_file_of_another_server(loop, run, path):
    async def main():
        first = await loop.create_unix_server(Echo, path)
        async with serving(loop, path):
            first.close()
            await first.wait_closed()
            await echo_once(loop, path)

    run(main())
    spin(loop)


@since(3, 13)
def test_close_survives_a_missing_file(loop, run, path):
    async def main():
        async with serving(loop, path):
            path.unlink()

    run(main())


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="removed since 3.13")
def test_close_leaves_the_file(loop, run, path):
    async def main():
        async with serving(loop, path):
            pass

    run(main())
    assert path.exists()


# ── connecting ───────────────────────────────────────────────────────────────────────────────


def test_connect_to_nothing(loop, run, path):
    with pytest.raises(FileNotFoundError):
        run(loop.create_unix_connection(asyncio.Protocol, path))


def test_connect_to_a_stale_file(loop, run, path):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with pytest.raises(ConnectionRefusedError):
        run(loop.create_unix_connection(asyncio.Protocol, path))


def test_a_path_that_is_too_long(loop, run):
    with pytest.raises(OSError, match="too long"):
        run(loop.create_unix_connection(asyncio.Protocol, "/" + "x" * 200))
    with pytest.raises(OSError, match="too long"):
        run(loop.create_unix_server(asyncio.Protocol, "/" + "x" * 200))


def test_own_sockets(loop, run, path):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    client = socket.socket(socket.AF_UNIX)

    async def main():
        async with serving(loop, None, sock=listening):
            client.connect(str(path))
            await echo_once(loop, None, sock=client)

    run(main())
    spin(loop)


def test_contradicting_arguments_are_refused(loop, run, path):
    ours, peer = socket.socketpair()
    with ours, peer, socket.socket(socket.AF_INET) as tcp:
        for options in (
            {},
            {"path": path, "sock": ours},
            {"sock": tcp},
            {"path": path, "server_hostname": "localhost"},
            {"path": path, "ssl": client_context()},
            {"path": path, "ssl_handshake_timeout": 1},
        ):
            with pytest.raises(ValueError):
                run(loop.create_unix_connection(asyncio.Protocol, **options))
        for options in ({}, {"path": path, "sock": ours}, {"sock": tcp}):
            with pytest.raises(ValueError):
                run(loop.create_unix_server(asyncio.Protocol, **options))
    with pytest.raises(TypeError):
        run(loop.create_unix_server(asyncio.Protocol, path, ssl=True))


def test_a_peer_that_leaves(loop, run, path):
    protocols = []

    def factory():
        protocols.append(Recorder())
        return protocols[-1]

    async def main():
        server = await loop.create_unix_server(factory, path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            await eventually(lambda: protocols and protocols[0].calls)
        await protocols[0].lost
        server.close()
        await server.wait_closed()

    run(main())
    assert protocols[0].calls == ["connection_made", "eof_received", "connection_lost"]
