"""The sock_* coroutines: a first try, waiting, cancelling, big data, wrong sockets."""

import asyncio
import os
import socket

import pytest
from support import recv_all, recv_exactly, since, spin


@pytest.fixture
def pair(cleanup):
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.setblocking(False)
    cleanup.extend((ours, peer))
    return ours, peer


@pytest.fixture
def udp(cleanup):
    """Two datagram sockets on loopback."""
    socks = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(2)]
    for sock in socks:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
    cleanup.extend(socks)
    return socks


def is_idle(loop, sock):
    """No watcher of the socket is left behind."""
    return not loop.remove_reader(sock) and not loop.remove_writer(sock)


def first_step(coroutine):
    """Drive a coroutine to its first wait; True if it ended without one."""
    try:
        coroutine.send(None)
    except StopIteration:
        return True
    coroutine.close()
    return False


# ── receiving ────────────────────────────────────────────────────────────────────────────────


def test_recv_what_is_there(loop, pair, run):
    ours, peer = pair
    peer.send(b"data")
    assert run(loop.sock_recv(ours, 2)) == b"da"
    assert run(loop.sock_recv(ours, 100)) == b"ta"


def test_recv_tries_before_it_waits(loop, pair, run):
    ours, peer = pair
    peer.send(b"data")

    async def main():
        assert first_step(loop.sock_recv(ours, 10))

    run(main())


def test_recv_waits(loop, pair, run):
    ours, peer = pair

    async def main():
        task = loop.create_task(loop.sock_recv(ours, 10))
        await asyncio.sleep(0.001)
        assert not task.done()
        peer.send(b"late")
        return await task

    assert run(main()) == b"late"
    assert is_idle(loop, ours)


def test_recv_of_eof(loop, pair, run):
    ours, peer = pair
    peer.close()
    assert run(loop.sock_recv(ours, 10)) == b""


def test_recv_into(loop, pair, run):
    ours, peer = pair
    buffer = bytearray(b"....")

    async def main():
        task = loop.create_task(loop.sock_recv_into(ours, buffer))
        await asyncio.sleep(0)
        peer.send(b"ab")
        return await task

    assert run(main()) == 2
    assert buffer == b"ab.."
    peer.send(b"cdefgh")
    assert run(loop.sock_recv_into(ours, memoryview(buffer)[2:])) == 2
    assert buffer == b"abcd"


def test_recvfrom_and_sendto(loop, udp, run):
    one, two = udp
    assert run(loop.sock_sendto(one, b"hello", two.getsockname())) == 5
    assert run(loop.sock_recvfrom(two, 100)) == (b"hello", one.getsockname())


def test_recvfrom_waits(loop, udp, run):
    one, two = udp

    async def main():
        task = loop.create_task(loop.sock_recvfrom(two, 100))
        await asyncio.sleep(0.001)
        await loop.sock_sendto(one, b"late", two.getsockname())
        return await task

    assert run(main()) == (b"late", one.getsockname())


def test_recvfrom_into(loop, udp, run):
    one, two = udp
    buffer = bytearray(10)

    async def main():
        task = loop.create_task(loop.sock_recvfrom_into(two, buffer))
        await asyncio.sleep(0)
        await loop.sock_sendto(one, b"hello", two.getsockname())
        assert await task == (5, one.getsockname())
        await loop.sock_sendto(one, b"again", two.getsockname())
        assert await loop.sock_recvfrom_into(two, buffer, 3) == (3, one.getsockname())

    run(main())
    assert buffer == b"agalo\0\0\0\0\0"


def test_an_empty_datagram(loop, udp, run):
    one, two = udp
    assert run(loop.sock_sendto(one, b"", two.getsockname())) == 0
    assert run(loop.sock_recvfrom(two, 10)) == (b"", one.getsockname())


# ── sending ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_sendall_of_big_data(loop, pair, run, kind):
    ours, peer = pair
    data = os.urandom(1 << 20)

    async def main():
        sending = loop.create_task(loop.sock_sendall(ours, kind(data)))
        received = await recv_exactly(loop, peer, len(data))
        assert await sending is None
        return received

    assert run(main()) == data
    assert is_idle(loop, ours)


def test_sendall_of_nothing(loop, pair, run):
    assert run(loop.sock_sendall(pair[0], b"")) is None


def test_sendall_tries_before_it_waits(loop, pair, run):
    async def main():
        assert first_step(loop.sock_sendall(pair[0], b"small"))

    run(main())


def test_sendall_to_a_closed_peer(loop, pair, run):
    ours, peer = pair
    peer.close()
    with pytest.raises(BrokenPipeError):
        run(loop.sock_sendall(ours, b"x"))


def test_both_directions_at_once(loop, pair, run):
    ours, peer = pair
    data = bytes(1 << 20)

    async def main():
        results = await asyncio.gather(
            loop.sock_sendall(ours, data),
            loop.sock_sendall(peer, data),
            recv_exactly(loop, ours, len(data)),
            recv_exactly(loop, peer, len(data)),
        )
        return [len(result) for result in results[2:]]

    assert run(main()) == [len(data)] * 2


# ── connecting ───────────────────────────────────────────────────────────────────────────────


def test_accept_and_connect(loop, run, listener, cleanup):
    client = socket.socket()
    client.setblocking(False)
    cleanup.append(client)

    async def main():
        accepting = loop.create_task(loop.sock_accept(listener))
        await loop.sock_connect(client, listener.getsockname())
        accepted, peername = await accepting
        cleanup.append(accepted)
        assert accepted.gettimeout() == 0
        assert peername == client.getsockname()
        await loop.sock_sendall(client, b"hello")
        client.shutdown(socket.SHUT_WR)
        return await recv_all(loop, accepted)

    assert run(main()) == b"hello"
    assert is_idle(loop, listener) and is_idle(loop, client)


def test_connect_refused(loop, run, cleanup):
    unused = socket.socket()
    unused.bind(("127.0.0.1", 0))
    client = socket.socket()
    client.setblocking(False)
    cleanup.extend((unused, client))
    with pytest.raises(ConnectionRefusedError):
        run(loop.sock_connect(client, unused.getsockname()))
    assert is_idle(loop, client)


# ── cancelling ───────────────────────────────────────────────────────────────────────────────


def waiting_calls(loop, ours, one, listener):
    return {
        "recv": (ours, loop.sock_recv(ours, 10)),
        "recv_into": (ours, loop.sock_recv_into(ours, bytearray(10))),
        "recvfrom": (one, loop.sock_recvfrom(one, 10)),
        "recvfrom_into": (one, loop.sock_recvfrom_into(one, bytearray(10))),
        "sendall": (ours, loop.sock_sendall(ours, bytes(1 << 24))),
        "accept": (listener, loop.sock_accept(listener)),
    }


CALLS = ["recv", "recv_into", "recvfrom", "recvfrom_into", "sendall", "accept"]


@pytest.mark.parametrize("call", CALLS)
def test_cancelled_leaves_no_watcher(loop, pair, udp, listener, run, call):
    async def main():
        calls = waiting_calls(loop, pair[0], udp[0], listener)
        sock, coroutine = calls.pop(call)
        for _, other in calls.values():
            other.close()
        task = loop.create_task(coroutine)
        await asyncio.sleep(0.001)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        spin_once = loop.create_future()
        loop.call_soon(spin_once.set_result, None)
        await spin_once
        assert is_idle(loop, sock)

    run(main())


def test_cancelled_then_used_again(loop, pair, run):
    ours, peer = pair

    async def main():
        for _ in range(3):
            task = loop.create_task(loop.sock_recv(ours, 10))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        peer.send(b"x")
        return await loop.sock_recv(ours, 10)

    assert run(main()) == b"x"


def test_cancelled_recv_loses_no_data(loop, pair, run):
    ours, peer = pair

    async def main():
        task = loop.create_task(loop.sock_recv(ours, 10))
        await asyncio.sleep(0.001)
        peer.send(b"kept")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return await loop.sock_recv(ours, 10)

    assert run(main()) == b"kept"


# ── wrong sockets ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("call", CALLS)
def test_blocking_sockets_are_refused_in_debug_mode(loop, pair, udp, listener, run, call):
    async def main():
        for sock in (pair[0], udp[0], listener):
            sock.setblocking(True)
        calls = waiting_calls(loop, pair[0], udp[0], listener)
        _, coroutine = calls.pop(call)
        for _, other in calls.values():
            other.close()
        with pytest.raises(ValueError, match="non-blocking"):
            await coroutine

    loop.set_debug(True)
    run(main())
    loop.set_debug(False)


@since(3, 12)
@pytest.mark.parametrize("call", ["recv", "recv_into"])
def test_the_socket_of_a_transport_is_refused(loop, connect, run, call):
    transport, _, _ = connect()
    transport.pause_reading()
    sock = transport._sock
    coroutine = {
        "recv": lambda: loop.sock_recv(sock, 10),
        "recv_into": lambda: loop.sock_recv_into(sock, bytearray(10)),
    }[call]
    with pytest.raises(RuntimeError, match="is used by transport"):
        run(coroutine())


def test_a_closed_socket_is_refused(loop, run):
    sock = socket.socket()
    sock.setblocking(False)
    sock.close()
    with pytest.raises(OSError):
        run(loop.sock_recv(sock, 10))
    with pytest.raises(OSError):
        run(loop.sock_sendall(sock, b"x"))
    spin(loop)
