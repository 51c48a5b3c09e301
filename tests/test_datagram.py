"""Datagram transports: UDP and Unix, errors, flow control, wrong arguments."""

import asyncio
import os
import socket

import pytest
from support import Boom, Datagrams, raising, since, spin


def name_of(transport):
    return transport.get_extra_info("sockname")


def test_send_and_receive(endpoint, run):
    one, _ = endpoint()
    two, protocol = endpoint()
    for data in (b"bytes", bytearray(b"bytearray"), memoryview(b"memoryview")):
        one.sendto(data, name_of(two))
    run(protocol.until_called("datagram_received", 3))
    assert protocol.received == [
        (b"bytes", name_of(one)),
        (b"bytearray", name_of(one)),
        (b"memoryview", name_of(one)),
    ]
    assert all(type(data) is bytes for data, _ in protocol.received)


@since(3, 12)
def test_is_an_asyncio_transport(endpoint):
    assert isinstance(endpoint()[0], asyncio.DatagramTransport)


def test_a_connected_endpoint(endpoint, plain, run):
    transport, protocol = endpoint(remote_addr=plain.getsockname())
    transport.sendto(b"to my peer")
    assert plain.recvfrom(100) == (b"to my peer", name_of(transport))
    transport.sendto(b"the same", plain.getsockname())
    assert plain.recv(100) == b"the same"
    plain.sendto(b"answer", name_of(transport))
    run(protocol.until_called("datagram_received"))
    assert protocol.received == [(b"answer", plain.getsockname())]
    with pytest.raises(ValueError, match="Invalid address"):
        transport.sendto(b"x", ("127.0.0.1", 9))


def test_empty_datagrams_are_received(endpoint, plain, run):
    transport, protocol = endpoint()
    plain.sendto(b"", name_of(transport))
    run(protocol.until_called("datagram_received"))
    assert protocol.received == [(b"", plain.getsockname())]


@pytest.mark.asyncio_wrong("an empty datagram is not sent", until=(3, 13))
def test_empty_datagrams_are_sent(endpoint, plain):
    plain.settimeout(0.5)
    transport, _ = endpoint()
    transport.sendto(b"", plain.getsockname())
    spin(transport._loop)
    assert plain.recvfrom(10) == (b"", name_of(transport))


def test_the_order_of_many(endpoint, run):
    one, _ = endpoint()
    two, protocol = endpoint()

    async def main():
        for start in range(0, 1000, 20):
            for number in range(start, start + 20):
                one.sendto(b"%d" % number, name_of(two))
            await protocol.until_called("datagram_received", start + 20)

    run(main())
    assert [int(data) for data, _ in protocol.received] == list(range(1000))


def test_big_datagrams(endpoint, run):
    one, _ = endpoint()
    two, protocol = endpoint()
    one.sendto(bytes(60_000), name_of(two))
    run(protocol.until_called("datagram_received"))
    assert len(protocol.received[0][0]) == 60_000


def test_an_oversized_datagram_reaches_error_received(endpoint, plain, run):
    transport, protocol = endpoint()
    transport.sendto(bytes(70_000), plain.getsockname())
    run(protocol.until_called("error_received"))
    assert isinstance(protocol.errors[0], OSError)
    assert not transport.is_closing()


def test_a_refused_datagram_reaches_error_received(endpoint, run, plain):
    transport, protocol = endpoint(remote_addr=plain.getsockname())
    plain.close()

    async def main():
        while not protocol.errors:
            transport.sendto(b"anybody?")
            await asyncio.sleep(0.001)

    run(main())
    assert isinstance(protocol.errors[0], ConnectionRefusedError)
    assert not transport.is_closing()


# ── closing ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["close", "abort"])
def test_closing(loop, endpoint, run, method):
    transport, protocol = endpoint()
    sock = transport.get_extra_info("socket")
    getattr(transport, method)()
    assert transport.is_closing()
    assert "connection_lost" not in protocol.calls
    getattr(transport, method)()
    run(protocol.until_called("connection_lost"))
    spin(loop)
    assert protocol.calls == ["connection_made", "connection_lost"]
    assert protocol.lost_with is None and sock.fileno() == -1


def test_nothing_is_delivered_after_close(loop, endpoint, plain, run):
    transport, protocol = endpoint()
    plain.sendto(b"x", name_of(transport))
    transport.close()
    run(protocol.until_called("connection_lost"))
    assert protocol.received == []


def test_close_inside_datagram_received(loop, endpoint, plain, run):
    transport, protocol = endpoint(
        lambda: Datagrams(datagram_received=lambda data, address: transport.close())
    )
    for _ in range(3):
        plain.sendto(b"x", name_of(transport))
    run(protocol.until_called("connection_lost"))
    spin(loop)
    assert protocol.calls == ["connection_made", "datagram_received", "connection_lost"]


# ── flow control ─────────────────────────────────────────────────────────────────────────────


def test_flow_control_and_flushing(loop, endpoint, unix_pair, run):
    ours, peer = unix_pair
    transport, protocol = endpoint(sock=ours)
    for number in range(300):
        transport.sendto(b"%03d" % number + bytes(1000))
    assert transport.get_write_buffer_size() > 65536
    assert protocol.calls == ["connection_made", "pause_writing"]
    transport.close()

    async def drain():
        return [(await loop.sock_recv(peer, 2000))[:3] for _ in range(300)]

    assert run(drain()) == [b"%03d" % number for number in range(300)]
    run(protocol.until_called("connection_lost"))
    assert protocol.calls == [
        "connection_made",
        "pause_writing",
        "resume_writing",
        "connection_lost",
    ]


@pytest.mark.asyncio_wrong("AttributeError")
def test_abort_after_a_flushed_close_does_nothing(loop, endpoint, unix_pair, run):
    ours, peer = unix_pair
    transport, protocol = endpoint(sock=ours)
    for _ in range(300):
        transport.sendto(bytes(1000))
    transport.close()

    async def drain():
        for _ in range(300):
            await loop.sock_recv(peer, 2000)

    run(drain())
    run(protocol.until_called("connection_lost"))
    transport.abort()
    spin(loop)
    assert protocol.calls.count("connection_lost") == 1


def test_what_waits_is_not_shared_with_the_caller(loop, endpoint, unix_pair, run):
    ours, peer = unix_pair
    transport, _ = endpoint(sock=ours)
    data = bytearray(b"mine" + bytes(1000))
    for _ in range(300):
        transport.sendto(data)
    data[:4] = b"wolf"
    transport.close()

    async def drain():
        return {(await loop.sock_recv(peer, 2000))[:4] for _ in range(300)}

    assert run(drain()) == {b"mine"}


@since(3, 14)
def test_the_buffer_size_counts_a_header_for_each(endpoint, unix_pair):
    ours, _ = unix_pair
    transport, _ = endpoint(sock=ours)
    while not transport.get_write_buffer_size():
        transport.sendto(bytes(100))
    before = transport.get_write_buffer_size()
    assert before == 108
    transport.sendto(b"")
    assert transport.get_write_buffer_size() == before + 8


def test_abort_right_after_sending(endpoint, plain, run):
    transport, _ = endpoint()

    async def main():
        for number in range(3):
            transport.sendto(bytes([number]), plain.getsockname())
        transport.abort()

    run(main())
    assert [plain.recv(100) for _ in range(3)] == [b"\0", b"\1", b"\2"]


def test_abort_drops_what_waits(loop, endpoint, unix_pair, run):
    ours, peer = unix_pair
    transport, protocol = endpoint(sock=ours)
    for _ in range(300):
        transport.sendto(bytes(1000))
    transport.abort()
    run(protocol.until_called("connection_lost"))
    count = 0
    try:
        while peer.recv(2000):
            count += 1
    except OSError:
        pass
    assert count < 300


# ── exceptions ───────────────────────────────────────────────────────────────────────────────


def test_exception_in_datagram_received(endpoint, plain, run, errors):
    transport, protocol = endpoint(lambda: Datagrams(datagram_received=raising()))
    plain.sendto(b"x", name_of(transport))
    run(protocol.until_called("datagram_received"))
    spin(transport._loop or protocol.transport._loop)
    assert isinstance(errors.take()[0]["exception"], Boom)


@pytest.mark.parametrize("data", ["text", None, 5])
def test_other_types_are_refused(endpoint, plain, data):
    transport, _ = endpoint()
    with pytest.raises(TypeError):
        transport.sendto(data, plain.getsockname())


# ── making endpoints ─────────────────────────────────────────────────────────────────────────


def test_extra_info(endpoint, plain):
    transport, _ = endpoint(remote_addr=plain.getsockname())
    assert transport.get_extra_info("peername") == plain.getsockname()
    sock = transport.get_extra_info("socket")
    assert sock.type == socket.SOCK_DGRAM and sock.getsockname() == name_of(transport)
    unconnected, _ = endpoint()
    assert unconnected.get_extra_info("peername") is None


def test_reuse_port_and_broadcast(endpoint):
    transport, _ = endpoint(local_addr=("127.0.0.1", 0), reuse_port=True, allow_broadcast=True)
    sock = transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) != 0
    twin, _ = endpoint(local_addr=name_of(transport), reuse_port=True)
    assert name_of(twin) == name_of(transport)


def test_unix_datagrams(endpoint, folder, run):
    one, _ = endpoint(family=socket.AF_UNIX, local_addr=os.path.join(folder, "one"))
    where = os.path.join(folder, "two")
    _, protocol = endpoint(family=socket.AF_UNIX, local_addr=where)
    one.sendto(b"hello", where)
    run(protocol.until_called("datagram_received"))
    assert protocol.received == [(b"hello", name_of(one))]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"local_addr": ("127.0.0.1", 0, 0, 0, 0, 0)},
        {"local_addr": "127.0.0.1"},
        {"local_addr": ("127.0.0.1", 0), "remote_addr": ("::1", 9), "family": socket.AF_INET},
    ],
)
def test_wrong_arguments_are_refused(loop, run, options):
    with pytest.raises((ValueError, TypeError, AssertionError, OSError)):
        run(loop.create_datagram_endpoint(Datagrams, **options))


def test_a_stream_socket_is_refused(loop, run):
    with socket.socket() as sock, pytest.raises(ValueError, match=r"[Ss]ocket was expected"):
        run(loop.create_datagram_endpoint(Datagrams, sock=sock))


def test_a_taken_port(loop, run, plain):
    with pytest.raises(OSError):
        run(loop.create_datagram_endpoint(Datagrams, local_addr=plain.getsockname()))
