"""The sock_* coroutines: a first try, waiting, cancelling, big data, wrong sockets."""

import asyncio
import os
import socket

import pytest
from support import recv_all, recv_exactly, run_child, since, spin


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


def test_a_refused_connection_names_the_address(loop, run, cleanup):
    for family, host in [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]:
        unused, client = socket.socket(family), socket.socket(family)
        cleanup.extend((unused, client))
        unused.bind((host, 0))
        client.setblocking(False)
        address = unused.getsockname()
        with pytest.raises(ConnectionRefusedError) as refused:
            run(loop.sock_connect(client, address[:2]))
        assert refused.value.args[1] == f"Connect call failed {address}"


def test_connect_resolves_names(loop, run, listener, cleanup):
    client = socket.socket()
    client.setblocking(False)
    cleanup.append(client)
    run(loop.sock_connect(client, ("localhost", listener.getsockname()[1])))
    assert client.getpeername() == listener.getsockname()


@pytest.mark.parametrize("address", [("127.0.0.1",), ("127.0.0.1", -1), 5, None])
def test_connect_to_what_is_no_address(loop, run, cleanup, address):
    client = socket.socket()
    client.setblocking(False)
    cleanup.append(client)
    with pytest.raises((TypeError, ValueError, OverflowError)):
        run(loop.sock_connect(client, address))


@pytest.mark.parametrize("kind", [str, str.encode])
def test_unix_addresses(loop, run, cleanup, tmp_path, kind):
    path = str(tmp_path / "socket")
    listening, client = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    cleanup.extend((listening, client))
    listening.bind(path)
    listening.listen()
    for sock in (listening, client):
        sock.setblocking(False)
    run(loop.sock_connect(client, kind(path)))
    accepted, address = run(loop.sock_accept(listening))
    cleanup.append(accepted)
    assert address == "" and client.getpeername() == path


def test_what_accept_gives(loop, run, listener, cleanup):
    client = socket.create_connection(listener.getsockname())
    cleanup.append(client)
    accepted, address = run(loop.sock_accept(listener))
    cleanup.append(accepted)
    assert type(accepted) is socket.socket and address == client.getsockname()
    assert (accepted.family, accepted.type) == (socket.AF_INET, socket.SOCK_STREAM)
    assert accepted.gettimeout() == 0 and not os.get_blocking(accepted.fileno())
    assert not accepted.get_inheritable() and accepted.proto == listener.proto


def test_audit_hooks_may_refuse(loop_kind):
    child = run_child(
        loop_kind,
        """
        import socket, sys
        refused = []
        def hook(event, args):
            if event in ("socket.connect", "socket.sendto"):
                refused.append((event, args[1]))
                raise PermissionError(event)
        listener = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(type=socket.SOCK_DGRAM)
        client = socket.socket()
        address = listener.getsockname()
        loop = new_event_loop()
        for sock in (listener, udp, client):
            sock.setblocking(False)
        sys.addaudithook(hook)
        for call in (loop.sock_connect(client, address), loop.sock_sendto(udp, b"x", address)):
            try:
                loop.run_until_complete(call)
            except PermissionError:
                pass
        loop.close()
        assert refused == [("socket.connect", address), ("socket.sendto", address)], refused
        try:
            listener.accept()
        except BlockingIOError:
            print("nobody connected")
        """,
    )
    assert (child.returncode, child.stdout) == (0, "nobody connected\n"), child.stderr


def test_a_guarded_method_of_the_class_is_called(loop, run, monkeypatch, listener, udp, cleanup):
    client = socket.socket()
    client.setblocking(False)
    cleanup.append(client)

    def guard(sock, *args):
        raise PermissionError("guarded")

    monkeypatch.setattr(socket.socket, "connect", guard)
    monkeypatch.setattr(socket.socket, "sendto", guard)
    with pytest.raises(PermissionError, match="guarded"):
        run(loop.sock_connect(client, listener.getsockname()))
    with pytest.raises(PermissionError, match="guarded"):
        run(loop.sock_sendto(udp[0], b"x", udp[1].getsockname()))


@pytest.mark.parametrize("count", [-1, 11])
def test_wrong_sizes(loop, run, udp, count):
    with pytest.raises(ValueError):
        run(loop.sock_recvfrom_into(udp[0], bytearray(10), count))


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
