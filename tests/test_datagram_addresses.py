"""Addresses of datagram transports: literals and names, IPv6, Unix sockets, wrong ones."""

import contextlib
import os
import socket

import pytest
from datagram_support import data_of, name_of

# ── addresses ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.oxloop_only
def test_the_same_peer_is_the_same_object(endpoint, plain, run):
    peers = [plain, *(socket.socket(type=socket.SOCK_DGRAM) for _ in range(50))]
    with contextlib.ExitStack() as stack:
        for peer in peers[1:]:
            stack.enter_context(peer).bind(("127.0.0.1", 0))
        transport, protocol = endpoint()

        async def main():
            for turn in (1, 2):
                for peer in peers:
                    peer.sendto(b"x", name_of(transport))
                await protocol.until_called("datagram_received", turn * len(peers))

        run(main())
        addresses = [address for _, address in protocol.received]
        assert addresses == [peer.getsockname() for peer in peers] * 2
        again = zip(addresses, addresses[len(peers) :], strict=False)
        assert all(first is second for first, second in again)


@pytest.mark.parametrize("host", ["localhost", ""])
def test_hosts_that_are_no_literals(endpoint, plain, host):
    transport, _ = endpoint()
    transport.sendto(b"x", (host, plain.getsockname()[1]))
    assert plain.recv(10) == b"x"


def test_addresses_of_other_types(endpoint, plain):
    class Port(int):
        pass

    class Host(str):
        pass

    class Address(tuple):
        pass

    transport, _ = endpoint()
    host, port = plain.getsockname()
    for address in (Address((host, port)), (Host(host), port), (host, Port(port))):
        transport.sendto(b"x", address)
        assert plain.recv(10) == b"x"


@pytest.fixture
def plain6(cleanup):
    try:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    sock.settimeout(20)
    cleanup.append(sock)
    return sock


def test_ipv6(endpoint, plain6, run):
    transport, protocol = endpoint(local_addr=("::1", 0))
    port = plain6.getsockname()[1]
    for address in (("::1", port), ("::1", port, 0), ("::1", port, 0, 0), ("", port)):
        transport.sendto(b"x", address)
        assert plain6.recvfrom(10) == (b"x", name_of(transport))
    plain6.sendto(b"answer", name_of(transport))
    run(protocol.until_called("datagram_received"))
    assert protocol.received == [(b"answer", plain6.getsockname())]


def test_ipv6_names_are_written_as_python_writes_them(endpoint, plain6, run):
    """Mapped IPv4 addresses, on a socket that speaks both."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", 0))
    transport, protocol = endpoint(sock=sock)
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(20)
        host, port = peer.getsockname()
        peer.sendto(b"x", ("127.0.0.1", name_of(transport)[1]))
        run(protocol.until_called("datagram_received"))
        assert protocol.received == [(b"x", (f"::ffff:{host}", port, 0, 0))]
        transport.sendto(b"y", protocol.received[0][1])
        assert peer.recv(10) == b"y"


@pytest.mark.parametrize(
    "address, kind",
    [
        (None, TypeError),
        ("127.0.0.1", TypeError),
        (("127.0.0.1",), TypeError),
        (["127.0.0.1", 9], TypeError),
        (("127.0.0.1", "9"), TypeError),
        ((None, 9), TypeError),
        (("127.0.0.1", 9.0), TypeError),
        (("127.0.0.1", 9, 0, 0), TypeError),
        (("127.0.0.1", 65536), OverflowError),
        (("127.0.0.1", -1), OverflowError),
        (("127.0.0.1", 1 << 80), OverflowError),
        (("a\0b", 9), (TypeError, ValueError)),
    ],
)
def test_a_wrong_address_ends_the_transport(endpoint, run, errors, address, kind):
    transport, protocol = endpoint()
    transport.sendto(b"x", address)
    context = errors.take_one(kind)
    assert context["message"] == "Fatal write error on datagram transport"
    assert context["transport"] is transport and context["protocol"] is protocol
    assert transport.is_closing()
    run(protocol.until_called("connection_lost"))
    assert protocol.lost_with is context["exception"]


def test_an_address_of_another_family_is_an_error_like_any_other(endpoint):
    transport, protocol = endpoint()
    transport.sendto(b"x", ("::1", 9))
    assert isinstance(protocol.errors[0], OSError)
    assert not transport.is_closing()


@pytest.mark.parametrize(
    "good", [None, "peer", "an equal one"], ids=["none", "the same", "an equal one"]
)
def test_the_address_of_a_connected_endpoint(endpoint, plain, good):
    address = plain.getsockname()
    transport, _ = endpoint(remote_addr=address)
    if good is None:
        transport.sendto(b"x")
    else:
        transport.sendto(b"x", address if good == "peer" else (address[0], int(str(address[1]))))
    assert plain.recv(10) == b"x"
    message = rf"Invalid address: must be None or \('127.0.0.1', {address[1]}\)"
    with pytest.raises(ValueError, match=message):
        transport.sendto(b"x", (address[0], 1))


def test_a_connected_socket_that_is_given_ignores_addresses(endpoint, plain, cleanup):
    sock = socket.socket(type=socket.SOCK_DGRAM)
    cleanup.append(sock)
    sock.connect(plain.getsockname())
    transport, _ = endpoint(sock=sock)
    for address in (None, ("127.0.0.1", 9), "nonsense"):
        transport.sendto(b"x", address)
        assert plain.recv(10) == b"x"


def test_remote_addr_with_allow_broadcast_does_not_connect(endpoint, plain, run):
    address = plain.getsockname()
    transport, protocol = endpoint(remote_addr=address, allow_broadcast=True)
    assert transport.get_extra_info("peername") is None
    transport.sendto(b"one")
    transport.sendto(b"two", address)
    assert (plain.recv(10), plain.recv(10)) == (b"one", b"two")
    with pytest.raises(ValueError, match="Invalid address"):
        transport.sendto(b"x", ("127.0.0.1", 9))
    port = transport._sock.getsockname()[1]
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.sendto(b"from anybody", ("127.0.0.1", port))
        run(protocol.until_called("datagram_received"))
    assert data_of(protocol) == [b"from anybody"]


# ── Unix sockets ─────────────────────────────────────────────────────────────────────────────


def test_unix_names(endpoint, folder, run):
    """Paths as str and bytes, abstract names, senders without a name."""
    path = os.path.join(folder, "here")
    abstract = "\0oxloop-test-" + os.path.basename(folder)
    one, one_protocol = endpoint(family=socket.AF_UNIX, local_addr=path)
    two, two_protocol = endpoint(family=socket.AF_UNIX, local_addr=abstract)
    nobody, _ = endpoint(family=socket.AF_UNIX)
    one.sendto(b"1", abstract)
    one.sendto(b"2", os.fsencode(abstract))
    two.sendto(b"3", path)
    two.sendto(b"4", os.fsencode(path))
    nobody.sendto(b"5", path)
    run(two_protocol.until_called("datagram_received", 2))
    run(one_protocol.until_called("datagram_received", 3))
    assert two_protocol.received == [(b"1", path), (b"2", path)]
    name = os.fsencode(abstract)
    assert one_protocol.received == [(b"3", name), (b"4", name), (b"5", None)]
    assert name_of(two) == name


def test_unix_connected_by_remote_addr(endpoint, folder, run):
    where = os.path.join(folder, "there")
    there, there_protocol = endpoint(family=socket.AF_UNIX, local_addr=where)
    here, protocol = endpoint(
        family=socket.AF_UNIX, local_addr=os.path.join(folder, "here"), remote_addr=where
    )
    assert here.get_extra_info("peername") == where
    here.sendto(b"x")
    run(there_protocol.until_called("datagram_received"))
    there.sendto(b"y", there_protocol.received[0][1])
    run(protocol.until_called("datagram_received"))
    assert protocol.received == [(b"y", where)]


def test_unix_paths_that_lead_nowhere_reach_error_received(endpoint, folder):
    transport, protocol = endpoint(family=socket.AF_UNIX)
    transport.sendto(b"x", os.path.join(folder, "nobody"))
    transport.sendto(b"x", folder + "/" + "x" * 200)
    assert isinstance(protocol.errors[0], FileNotFoundError)
    assert isinstance(protocol.errors[1], OSError)
    assert not transport.is_closing()


@pytest.mark.asyncio_wrong("a peer without a name is taken for none, and TypeError ends it")
def test_a_socket_pair(endpoint, run):
    ours, peer = socket.socketpair(type=socket.SOCK_DGRAM)
    with peer:
        peer.settimeout(1)
        transport, protocol = endpoint(sock=ours)
        for data in (b"out", b""):
            transport.sendto(data)
            assert peer.recv(10) == data
        peer.send(b"in")
        run(protocol.until_called("datagram_received"))
        assert protocol.received == [(b"in", None)]


def test_large_unix_datagrams(endpoint, folder, run):
    where = os.path.join(folder, "two")
    one, _ = endpoint(family=socket.AF_UNIX)
    _, protocol = endpoint(family=socket.AF_UNIX, local_addr=where)
    large = os.urandom(150_000)
    one.sendto(large, where)
    run(protocol.until_called("datagram_received"))
    assert protocol.received == [(large, None)]


def test_names_to_look_up_keep_their_place(loop, endpoint, folder, run, cleanup):
    """What waits is sent in order, whatever kind of address it has."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    cleanup.append(peer)
    peer.setblocking(False)
    where = os.path.join(folder, "peer")
    peer.bind(where)

    class Path(str):
        pass

    transport, _ = endpoint(family=socket.AF_UNIX)
    for number in range(300):
        data = b"%03d" % number + bytes(1000)
        transport.sendto(data, Path(where) if number % 2 else where)
    assert transport.get_write_buffer_size() > 0

    async def drain():
        return [(await loop.sock_recv(peer, 2000))[:3] for _ in range(300)]

    assert run(drain()) == [b"%03d" % number for number in range(300)]
