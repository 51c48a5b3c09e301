"""loop.sendfile and loop.sock_sendfile: offsets, positions, waiting, ends, and falling back."""

import asyncio
import io
import os
import socket

import pytest
from support import Recorder, eventually, recv_all, recv_exactly, spin
from tls_support import client_context, start_peer

#: More than the kernel takes at once.
LARGE = 1 << 22


@pytest.fixture
def data():
    return os.urandom(300_000)


@pytest.fixture
def file(tmp_path, data, cleanup):
    return opened(tmp_path, data, cleanup)


@pytest.fixture
def large(tmp_path, cleanup):
    return opened(tmp_path, os.urandom(LARGE), cleanup)


def opened(folder, data, cleanup):
    path = folder / "file"
    path.write_bytes(data)
    cleanup.append(open(path, "r+b"))  # noqa: SIM115
    return cleanup[-1]


@pytest.fixture
def pair(cleanup):
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.setblocking(False)
    cleanup.extend((ours, peer))
    return ours, peer


@pytest.fixture(params=["transport", "socket"])
def send(request, loop, run):
    """``send(file, …)`` is the coroutine under test, ``send.peer`` gets what it sends."""
    kind = request.getfixturevalue("connect" if request.param == "transport" else "pair")
    if request.param == "transport":
        transport, _, peer = kind()

        def send(*args, **kwargs):
            return loop.sendfile(transport, *args, **kwargs)

    else:
        ours, peer = kind

        def send(*args, **kwargs):
            return loop.sock_sendfile(ours, *args, **kwargs)

    send.peer = peer
    return send


class Unmappable:
    """A file without a descriptor: the loop must read and send it itself."""

    def __init__(self, file):
        self.read, self.seek, self.tell, self.mode = file.read, file.seek, file.tell, file.mode
        self.readinto = file.readinto


async def sent_and_received(loop, sending, peer, size):
    """The result of the sending, and the bytes that its peer got."""
    task = loop.create_task(sending)
    received = await recv_exactly(loop, peer, size)
    return await task, received


# ── what is sent ─────────────────────────────────────────────────────────────────────────────

PARTS = [(0, None), (1000, None), (0, 5000), (70_000, 80_000), (299_999, None), (250_000, 90_000)]


@pytest.mark.parametrize("kind", ["native", "fallback"])
@pytest.mark.parametrize("offset, count", PARTS)
def test_a_part_of_a_file(loop, run, send, file, data, kind, offset, count):
    expected = data[offset:] if count is None else data[offset : offset + count]
    source = file if kind == "native" else Unmappable(file)
    sending = send(source, offset, count, fallback=kind == "fallback")
    sent, received = run(sent_and_received(loop, sending, send.peer, len(expected)))
    assert (sent, received) == (len(expected), expected)
    assert file.tell() == offset + len(expected)


def test_a_file_that_the_kernel_does_not_take_at_once(loop, run, send, large):
    sent, received = run(sent_and_received(loop, send(large), send.peer, LARGE))
    large.seek(0)
    assert sent == LARGE and received == large.read()


def test_the_position_of_the_file_does_not_matter(loop, run, send, file, data):
    file.seek(5)
    sent, received = run(sent_and_received(loop, send(file, 10, 20), send.peer, 20))
    assert (sent, received) == (20, data[10:30])
    assert file.tell() == 30


@pytest.mark.parametrize("source", ["empty", "beyond the end"])
def test_nothing_to_send(run, send, file, source):
    if source == "empty":
        file.truncate(0)
        assert run(send(file)) == 0
    else:
        assert run(send(file, 400_000)) == 0
        assert run(send(file, 400_000, 10)) == 0


def test_far_into_a_huge_file(loop, run, send, file):
    start = 3 << 30
    file.seek(start)
    file.write(b"the end")
    file.flush()
    sent, received = run(sent_and_received(loop, send(file, start), send.peer, 7))
    assert (sent, received) == (7, b"the end")
    assert file.tell() == start + 7


@pytest.mark.parametrize("change", ["grows", "shrinks"])
def test_a_file_that_changes_its_size(loop, run, send, large, change):
    async def main():
        task = loop.create_task(send(large))
        await asyncio.sleep(0.001)
        if change == "grows":
            large.seek(LARGE)
            large.write(b"more")
            large.flush()
            return await recv_exactly(loop, send.peer, LARGE + 4), await task
        large.truncate(LARGE - 1)
        return await recv_exactly(loop, send.peer, LARGE - 1), await task

    received, sent = run(main())
    assert len(received) == sent == (LARGE + 4 if change == "grows" else LARGE - 1)


@pytest.mark.parametrize("fallback", [True, False])
def test_what_is_no_file(loop, run, send, fallback):
    source = io.BytesIO(b"some bytes")
    if fallback:
        assert run(sent_and_received(loop, send(source, 5), send.peer, 5)) == (5, b"bytes")
        assert source.tell() == 10
    else:
        with pytest.raises(asyncio.SendfileNotAvailableError, match="not a regular file"):
            run(send(source, fallback=False))


def test_a_file_that_the_kernel_may_not_send(loop, run, send):
    """It has no size, and sendfile(2) refuses it on most kernels."""
    with open("/proc/version", "rb") as source:
        expected = source.read()[5:15]
        sending = send(source, 5, 10)
        assert run(sent_and_received(loop, sending, send.peer, 10)) == (10, expected)
        assert source.tell() == 15


@pytest.mark.parametrize(
    "arguments, error",
    [
        ({"offset": -1}, ValueError),
        ({"offset": 1.0}, TypeError),
        ({"count": 0}, ValueError),
        ({"count": -1}, ValueError),
        ({"count": "1"}, TypeError),
    ],
)
def test_wrong_arguments(loop, run, pair, file, arguments, error):
    with pytest.raises(error):
        run(loop.sock_sendfile(pair[0], file, **arguments))


def test_an_offset_that_no_file_has(run, send, file):
    with pytest.raises(OverflowError):
        run(send(file, 1 << 64, 1))


def test_text_is_refused(run, pair, loop, tmp_path):
    path = tmp_path / "text"
    path.write_text("text")
    with open(path) as file, pytest.raises(ValueError, match="binary mode"):
        run(loop.sock_sendfile(pair[0], file))


def test_datagram_sockets_are_refused(loop, run, file):
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.setblocking(False)
        with pytest.raises(ValueError, match="SOCK_STREAM"):
            run(loop.sock_sendfile(udp, file))


def test_a_blocking_socket_is_refused_in_debug_mode(loop, run, pair, file):
    loop.set_debug(True)
    pair[0].setblocking(True)
    with pytest.raises(ValueError, match="non-blocking"):
        run(loop.sock_sendfile(pair[0], file))
    loop.set_debug(False)


# ── between what a transport sends ───────────────────────────────────────────────────────────


def test_the_file_comes_behind_what_was_written(loop, connect, run, file, data):
    transport, _, peer = connect(sndbuf=4096)

    async def main():
        transport.write(bytes(100_000))
        sending = loop.create_task(loop.sendfile(transport, file))
        received = await recv_exactly(loop, peer, 400_000)
        await sending
        transport.write(b"after")
        return received + await recv_exactly(loop, peer, 5)

    assert run(main()) == bytes(100_000) + data + b"after"


def test_write_meanwhile_is_refused(loop, connect, run, large):
    transport, _, peer = connect()

    async def main():
        sending = loop.create_task(loop.sendfile(transport, large))
        await asyncio.sleep(0.001)
        with pytest.raises(RuntimeError, match="sendfile is in progress"):
            transport.write(b"x")
        with pytest.raises(RuntimeError, match="sendfile is in progress"):
            transport.writelines([b"x"])
        await recv_exactly(loop, peer, LARGE)
        await sending

    run(main())


@pytest.mark.asyncio_wrong("the second one ends in a KeyError")
def test_a_second_file_meanwhile_is_refused(loop, connect, run, large):
    transport, _, peer = connect()

    async def main():
        sending = loop.create_task(loop.sendfile(transport, large))
        await asyncio.sleep(0.001)
        with pytest.raises(RuntimeError):
            await loop.sendfile(transport, large)
        assert len(await recv_exactly(loop, peer, LARGE)) == await sending

    run(main())


@pytest.mark.parametrize("reading", [True, False])
def test_reading_rests_meanwhile(loop, connect, run, large, reading):
    transport, protocol, peer = connect()
    if not reading:
        transport.pause_reading()

    async def main():
        sending = loop.create_task(loop.sendfile(transport, large))
        await asyncio.sleep(0.001)
        assert not transport.is_reading()
        await loop.sock_sendall(peer, b"data")
        await asyncio.sleep(0.001)
        assert not protocol.data
        await recv_exactly(loop, peer, LARGE)
        await sending
        assert transport.is_reading() == reading
        if reading:
            await protocol.until_data(4)

    run(main())


def test_a_paused_writer_goes_on(loop, connect, run, file):
    transport, protocol, peer = connect()

    async def main():
        transport.write(bytes(LARGE))
        assert "pause_writing" in protocol.calls
        sending = loop.create_task(loop.sendfile(transport, file))
        await recv_exactly(loop, peer, LARGE + 300_000)
        await sending

    run(main())
    assert protocol.calls[-2:] == ["pause_writing", "resume_writing"]


def test_several_files_one_after_the_other(loop, connect, run, file, data):
    transport, _, peer = connect()

    async def main():
        for number in range(5):
            sending = loop.sendfile(transport, file, number, 1000)
            sent, received = await sent_and_received(loop, sending, peer, 1000)
            assert (sent, received) == (1000, data[number : number + 1000])

    run(main())


# ── ends ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio_wrong("the position stays where it was")
def test_cancelled(loop, run, send, large):
    async def main():
        task = loop.create_task(send(large))
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        part = large.tell()
        assert 0 < part < LARGE
        # Nothing more of it is sent, and what follows is in its place.
        sending = send(large, part, 1000)
        sent, received = await sent_and_received(loop, sending, send.peer, part + 1000)
        large.seek(0)
        assert received == large.read(part + 1000)

    run(main())


def test_cancelled_leaves_no_watcher(loop, run, pair, large):
    async def main():
        task = loop.create_task(loop.sock_sendfile(pair[0], large))
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(main())
    spin(loop)
    assert not loop.remove_writer(pair[0])


def test_a_cancelled_transport_reads_on(loop, connect, run, large):
    transport, protocol, peer = connect()

    async def main():
        task = loop.create_task(loop.sendfile(transport, large))
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await loop.sock_sendall(peer, b"data")
        await protocol.until_data(4)

    run(main())


def test_a_peer_that_goes_away(loop, run, send, large):
    async def main():
        task = loop.create_task(send(large))
        await recv_exactly(loop, send.peer, 100_000)
        send.peer.close()
        with pytest.raises(ConnectionError):
            await task
        assert 100_000 <= large.tell() < LARGE

    run(main())


def test_a_peer_that_is_gone(loop, run, send, file):
    send.peer.close()
    with pytest.raises(asyncio.SendfileNotAvailableError, match=r"os\.sendfile call failed"):
        run(send(file, fallback=False))
    assert file.tell() == 0


def test_a_closing_transport_is_refused(loop, connect, run, file):
    transport, _, _ = connect()
    transport.close()
    with pytest.raises(RuntimeError, match="Transport is closing"):
        run(loop.sendfile(transport, file))


@pytest.mark.asyncio_wrong("the file is never finished")
def test_closed_meanwhile(loop, connect, run, large):
    transport, protocol, peer = connect()

    async def main():
        sending = loop.create_task(loop.sendfile(transport, large))
        await asyncio.sleep(0.001)
        transport.close()
        async with asyncio.timeout(2):
            assert len(await recv_all(loop, peer)) == LARGE
            assert await sending == LARGE
        await protocol.lost

    run(main())
    assert protocol.lost_with is None


@pytest.mark.asyncio_wrong("nobody is told")
def test_aborted_meanwhile(loop, connect, run, large):
    transport, protocol, _ = connect()

    async def main():
        sending = loop.create_task(loop.sendfile(transport, large))
        await asyncio.sleep(0.001)
        transport.abort()
        async with asyncio.timeout(2):
            with pytest.raises(ConnectionError, match="Connection is closed by peer"):
                await sending
        assert 0 < large.tell() < LARGE

    run(main())
    assert "connection_lost" in protocol.calls


def test_the_loop_ends_meanwhile(loop, connect, run, large):
    transport, _, _ = connect()

    async def main():
        task = loop.create_task(loop.sendfile(transport, large))
        await asyncio.sleep(0.001)
        return task

    task = run(main())
    task.cancel()
    run(asyncio.wait([task]))
    transport.abort()


# ── other transports ─────────────────────────────────────────────────────────────────────────


def test_tls_falls_back(loop, run, file, data):
    received = bytearray()

    def talk(tls):
        while len(received) < 50_000:
            received.extend(tls.recv(65536))

    peer, ours = start_peer(talk)

    async def main():
        transport, protocol = await loop.create_connection(
            Recorder, sock=ours, ssl=client_context(), server_hostname="localhost"
        )
        with pytest.raises(RuntimeError, match="fallback is disabled"):
            await loop.sendfile(transport, file, fallback=False)
        assert await loop.sendfile(transport, file, 7, 50_000) == 50_000
        assert file.tell() == 50_007
        await eventually(lambda: len(received) == 50_000)
        transport.close()
        await protocol.lost

    run(main())
    peer.join()
    assert received == data[7:50_007]
    run(loop.shutdown_default_executor())


def test_what_cannot_send_files(loop, run, file):
    class Transport(asyncio.Transport):
        def is_closing(self):
            return False

    with pytest.raises(RuntimeError, match="sendfile is not supported for transport"):
        run(loop.sendfile(Transport(), file))
