"""Datagram transports at the edges: addresses, errors, batches, ends, wrong arguments."""

import asyncio
import contextlib
import contextvars
import gc
import logging
import os
import socket
import warnings
import weakref

import pytest
from support import Boom, Datagrams, open_fds, raising, since, spin

FORGOTTEN_HEADERS = pytest.mark.asyncio_wrong(
    "3.13.0 adds the headers of datagrams and never takes them off",
    since=(3, 13),
    until=(3, 14),
    strict=False,
)


def name_of(transport):
    return transport.get_extra_info("sockname")


def deliver(endpoint, plain, run, datagrams, **hooks):
    """Have an endpoint receive these, which are there at once."""
    transport, protocol = endpoint(lambda: Datagrams(**hooks))
    for data in datagrams:
        plain.sendto(data, name_of(transport))
    return transport, protocol


def data_of(protocol):
    return [data for data, _ in protocol.received]


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


# ── data ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("data", ["text", None, 5, [b"x"]])
def test_the_message_for_other_types(endpoint, plain, data):
    transport, _ = endpoint()
    message = f"data argument must be a bytes-like object, not '{type(data).__name__}'"
    with pytest.raises(TypeError, match=message):
        transport.sendto(data, plain.getsockname())
    assert not transport.is_closing()


def test_arguments_by_name(endpoint, plain):
    transport, _ = endpoint()
    address = plain.getsockname()
    transport.sendto(data=b"1", addr=address)
    transport.sendto(b"2", addr=address)
    assert (plain.recv(9), plain.recv(9)) == (b"1", b"2")
    for args, kwargs in (
        ((), {}),
        ((b"x", address, 1), {}),
        ((b"x",), {"data": b"y"}),
        ((b"x",), {"address": address}),
    ):
        with pytest.raises(TypeError):
            transport.sendto(*args, **kwargs)
    assert not transport.is_closing()


def test_views_of_larger_items(endpoint, plain):
    transport, _ = endpoint()
    view = memoryview(b"12345678").cast("I")
    transport.sendto(view, plain.getsockname())
    assert plain.recv(10) == b"12345678"


def test_a_view_with_gaps_ends_the_transport(endpoint, plain, run, errors):
    transport, protocol = endpoint()
    transport.sendto(memoryview(b"12345678")[::2], plain.getsockname())
    errors.take_one(BufferError)
    run(protocol.until_called("connection_lost"))


# ── several at a time ────────────────────────────────────────────────────────────────────────


def test_a_batch_is_answered_in_order(endpoint, plain, run):
    transport, protocol = deliver(
        endpoint,
        plain,
        run,
        [b"%d" % number for number in range(100)],
        datagram_received=lambda data, address: protocol.transport.sendto(data, address),
    )
    run(protocol.until_called("datagram_received", 100))
    spin(transport._loop)
    assert [plain.recv(9) for _ in range(100)] == [b"%d" % number for number in range(100)]


def test_an_error_among_the_answers_is_one_error(endpoint, plain, run):
    def answer(data, address):
        protocol.transport.sendto(bytes(70_000) if data in (b"3", b"4", b"9") else data, address)

    transport, protocol = deliver(
        endpoint, plain, run, [b"%d" % number for number in range(10)], datagram_received=answer
    )
    run(protocol.until_called("datagram_received", 10))
    spin(transport._loop)
    assert [plain.recv(9) for _ in range(7)] == [b"0", b"1", b"2", b"5", b"6", b"7", b"8"]
    assert [type(error) for error in protocol.errors] == [OSError] * 3
    assert not transport.is_closing()


@pytest.mark.parametrize("end", ["close", "abort"])
def test_nothing_is_delivered_after_an_end_within_a_batch(loop, endpoint, plain, run, end):
    def stop(data, address):
        protocol.transport.sendto(b"goodbye", address)
        getattr(protocol.transport, end)()

    _, protocol = deliver(endpoint, plain, run, [b"x"] * 10, datagram_received=stop)
    run(protocol.until_called("connection_lost"))
    spin(loop)
    assert protocol.calls == ["connection_made", "datagram_received", "connection_lost"]
    if end == "close":
        assert plain.recv(10) == b"goodbye"


def test_a_pause_within_a_batch_loses_nothing(loop, endpoint, plain, run):
    transport, protocol = deliver(
        endpoint,
        plain,
        run,
        [b"%d" % number for number in range(5)],
        datagram_received=lambda data, address: protocol.transport.pause_reading(),
    )
    for count in range(1, 6):
        run(protocol.until_called("datagram_received", count))
        spin(loop)
        assert len(protocol.received) == count
        assert not transport.is_reading()
        transport.resume_reading()
    plain.sendto(b"5", name_of(transport))
    run(protocol.until_called("datagram_received", 6))
    assert data_of(protocol) == [b"%d" % number for number in range(6)]


def test_the_protocol_may_change_within_a_batch(loop, endpoint, plain, run):
    second = Datagrams()
    transport, first = deliver(
        endpoint,
        plain,
        run,
        [b"1", b"2", b"3"],
        datagram_received=lambda data, address: first.transport.set_protocol(second),
    )
    run(second.until_called("datagram_received", 2))
    assert (data_of(first), data_of(second)) == ([b"1"], [b"2", b"3"])
    assert transport.get_protocol() is second


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_run_loses_nothing(loop, endpoint, plain, run, kind):
    def interrupt(data, address):
        if data == b"1":
            raise kind

    _, protocol = deliver(endpoint, plain, run, [b"1", b"2", b"3"], datagram_received=interrupt)
    with pytest.raises(kind):
        loop.run_forever()
    assert data_of(protocol) == [b"1"]
    run(protocol.until_called("datagram_received", 3))
    assert data_of(protocol) == [b"1", b"2", b"3"]


def test_stopping_in_datagram_received(loop, endpoint, plain, run):
    _, protocol = deliver(
        endpoint, plain, run, [b"1", b"2"], datagram_received=lambda *args: loop.stop()
    )
    loop.run_forever()
    spin(loop)
    assert data_of(protocol) == [b"1", b"2"]


# ── errors of the protocol ───────────────────────────────────────────────────────────────────


def test_an_exception_in_datagram_received_ends_nothing(endpoint, plain, run, errors):
    transport, protocol = deliver(
        endpoint, plain, run, [b"1", b"2", b"3"], datagram_received=raising()
    )
    run(protocol.until_called("datagram_received", 3))
    contexts = errors.take()
    assert [type(context["exception"]) for context in contexts] == [Boom] * 3
    assert all("Exception in callback" in context["message"] for context in contexts)
    assert not transport.is_closing()


def test_an_exception_in_error_received(endpoint, plain, run, errors):
    """Raised by `sendto` if that told it, reported if the loop did."""
    transport, protocol = endpoint(
        lambda: Datagrams(error_received=raising()), remote_addr=plain.getsockname()
    )
    with pytest.raises(Boom):
        transport.sendto(bytes(70_000))
    plain.close()
    transport.sendto(b"anybody?")
    run(protocol.until_called("error_received", 2))
    spin(transport._loop)
    assert isinstance(errors.take_one()["exception"], Boom)
    assert not transport.is_closing()


def test_an_exception_in_pause_writing_is_reported(endpoint, unix_pair, errors):
    ours, _ = unix_pair
    transport, _ = endpoint(lambda: Datagrams(pause_writing=raising()), sock=ours)
    for _ in range(300):
        transport.sendto(bytes(1000))
    assert errors.take_one()["message"] == "protocol.pause_writing() failed"
    assert not transport.is_closing()


def test_a_protocol_without_the_methods(endpoint, plain, run, loop, errors):
    class Nothing:
        def connection_made(self, transport):
            pass

        def connection_lost(self, exc):
            pass

    transport, _ = endpoint(Nothing)
    plain.sendto(b"x", name_of(transport))
    spin(loop)
    errors.take_one(AttributeError)
    assert not transport.is_closing()


# ── flow control ─────────────────────────────────────────────────────────────────────────────


@FORGOTTEN_HEADERS
def test_a_high_mark_of_zero(loop, endpoint, unix_pair, run):
    ours, peer = unix_pair
    transport, protocol = endpoint(sock=ours)
    transport.set_write_buffer_limits(high=0)
    assert transport.get_write_buffer_limits() == (0, 0)
    sent = 0
    while "pause_writing" not in protocol.calls:
        assert transport.get_write_buffer_size() == 0
        transport.sendto(bytes(1000))
        sent += 1

    async def drain():
        for _ in range(sent):
            await loop.sock_recv(peer, 2000)

    run(drain())
    spin(loop)
    assert transport.get_write_buffer_size() == 0
    assert protocol.calls.count("pause_writing") == protocol.calls.count("resume_writing") == 1


def test_sending_in_resume_writing(loop, endpoint, unix_pair, run):
    ours, peer = unix_pair
    transport, protocol = endpoint(
        lambda: Datagrams(resume_writing=lambda: protocol.transport.sendto(b"resumed")), sock=ours
    )
    count = 0
    while "pause_writing" not in protocol.calls:
        transport.sendto(b"%03d" % count + bytes(1000))
        count += 1
    transport.close()

    async def drain():
        return [await loop.sock_recv(peer, 2000) for _ in range(count + 1)]

    assert run(drain())[-1] == b"resumed"
    run(protocol.until_called("connection_lost"))
    assert protocol.calls[-2:] == ["resume_writing", "connection_lost"]


def test_closing_in_pause_writing(loop, endpoint, unix_pair, run):
    ours, peer = unix_pair
    transport, protocol = endpoint(
        lambda: Datagrams(pause_writing=lambda: protocol.transport.close()), sock=ours
    )
    count = 0
    while not transport.is_closing():
        transport.sendto(bytes(1000))
        count += 1

    async def drain():
        for _ in range(count):
            await loop.sock_recv(peer, 2000)

    run(drain())
    run(protocol.until_called("connection_lost"))
    assert protocol.lost_with is None


@since(3, 13)
@FORGOTTEN_HEADERS
def test_the_headers_are_taken_off_again(loop, endpoint, unix_pair, run):
    ours, peer = unix_pair
    transport, _ = endpoint(sock=ours)
    for _ in range(300):
        transport.sendto(bytes(100))
    assert transport.get_write_buffer_size() % 108 == 0

    async def drain():
        for _ in range(300):
            await loop.sock_recv(peer, 2000)

    run(drain())
    spin(loop)
    assert transport.get_write_buffer_size() == 0


def test_wrong_limits(endpoint):
    transport, _ = endpoint()
    for limits in ({"high": -1}, {"high": 1, "low": 2}, {"low": -1}):
        with pytest.raises(ValueError):
            transport.set_write_buffer_limits(**limits)
    assert transport.get_write_buffer_limits() == (16384, 65536)


# ── ends ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio_wrong("an endpoint without an address raises AttributeError")
@pytest.mark.parametrize("method", ["close", "abort"])
def test_sendto_after_the_end_does_nothing(loop, endpoint, plain, run, method):
    transport, protocol = endpoint()
    getattr(transport, method)()
    run(protocol.until_called("connection_lost"))
    for _ in range(10):
        transport.sendto(b"x", plain.getsockname())
    transport.close()
    transport.abort()
    spin(loop)
    assert protocol.calls == ["connection_made", "connection_lost"]


def test_sendto_after_close_of_a_connected_endpoint_warns(loop, endpoint, plain, caplog):
    transport, _ = endpoint(remote_addr=plain.getsockname())
    transport.close()
    with caplog.at_level(logging.WARNING, "asyncio"):
        for _ in range(5):
            transport.sendto(b"x")
    assert [record.message for record in caplog.records] == ["socket.send() raised exception."]
    plain.settimeout(0.05)
    with pytest.raises(TimeoutError):
        plain.recv(10)


def test_sendto_right_after_close(endpoint, plain):
    """The socket is open until `connection_lost`; without a `remote_addr` asyncio still sends."""
    transport, _ = endpoint()
    transport.close()
    transport.sendto(b"last words", plain.getsockname())
    assert plain.recv(20) == b"last words"


def test_what_remains_after_the_end(loop, endpoint, plain, run):
    transport, protocol = endpoint(remote_addr=plain.getsockname())
    name, sock = name_of(transport), transport.get_extra_info("socket")
    fd = transport._sock_fd
    transport.close()
    run(protocol.until_called("connection_lost"))
    spin(loop)
    assert name_of(transport) == name and sock.fileno() == -1
    assert transport.get_extra_info("peername") == plain.getsockname()
    assert transport.get_protocol() is None and transport.is_closing()
    assert transport.get_write_buffer_size() == 0
    assert repr(transport).endswith(f"Transport closed fd={fd}>")


def test_repr(loop, endpoint, run):
    transport, protocol = endpoint()
    fd = transport.get_extra_info("socket").fileno()
    assert f" fd={fd} read=polling write=<idle, bufsize=0>>" in repr(transport)
    transport.close()
    assert " closing fd=" in repr(transport)


def test_names_that_programs_read(endpoint, plain):
    transport, protocol = endpoint(remote_addr=plain.getsockname())
    assert transport._sock.getsockname() == transport._extra["sockname"]
    assert transport._sock_fd == transport._sock.fileno()
    assert transport._protocol is protocol and transport._address == plain.getsockname()
    assert (transport._closing, transport._conn_lost, transport._paused) == (False, 0, False)
    assert transport._loop is not None and transport.max_size == 262144
    transport.note = weakref.ref(transport)
    assert transport.note() is transport


def test_an_abandoned_transport_warns(loop_factory):
    loop = loop_factory()
    before = open_fds()
    transport, _ = loop.run_until_complete(
        loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    )
    alive = weakref.ref(transport)
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed transport <"):
        del transport, _
        del loop
        gc.collect()
    assert alive() is None
    assert len(open_fds()) <= len(before)


def test_a_transport_in_a_cycle_is_freed(loop_factory, no_leaked_fds):
    loop = loop_factory()
    transport, protocol = loop.run_until_complete(
        loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
    )
    protocol.loop = loop
    transport.protocol = protocol
    alive = weakref.ref(transport), weakref.ref(protocol), weakref.ref(loop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        loop.close()
        del loop, transport, protocol
        gc.collect()
        assert [reference() for reference in alive] == [None] * 3


# ── making endpoints ─────────────────────────────────────────────────────────────────────────


def test_connection_made_comes_before_the_first_datagram(loop, plain, run, cleanup):
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    plain.sendto(b"early", sock.getsockname())
    transport, protocol = run(loop.create_datagram_endpoint(Datagrams, sock=sock))
    run(protocol.until_called("datagram_received"))
    assert protocol.calls == ["connection_made", "datagram_received"]
    transport.close()


@pytest.mark.parametrize("method", ["close", "abort", "pause_reading"])
def test_an_end_or_a_pause_in_connection_made(loop, plain, run, cleanup, method):
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    plain.sendto(b"early", sock.getsockname())
    factory = lambda: Datagrams(connection_made=lambda transport: getattr(transport, method)())  # noqa: E731
    transport, protocol = run(loop.create_datagram_endpoint(factory, sock=sock))
    spin(loop)
    assert "datagram_received" not in protocol.calls
    transport.abort()
    run(protocol.until_called("connection_lost"))


def test_callbacks_run_in_the_context_of_the_maker(loop, endpoint, plain, run):
    variable = contextvars.ContextVar("variable", default="outside")
    seen = {}

    def note(name):
        return lambda *args: seen.setdefault(name, variable.get())

    names = ("connection_made", "datagram_received", "error_received", "connection_lost")

    async def main():
        variable.set("inside")
        return await loop.create_datagram_endpoint(
            lambda: Datagrams(**{name: note(name) for name in names}),
            remote_addr=plain.getsockname(),
        )

    transport, protocol = run(main())
    plain.sendto(b"x", name_of(transport))
    run(protocol.until_called("datagram_received"))
    plain.close()
    transport.sendto(b"x")
    run(protocol.until_called("error_received"))
    transport.close()
    run(protocol.until_called("connection_lost"))
    assert seen.pop("connection_lost") in ("inside", "outside")
    assert seen == dict.fromkeys(names[:3], "inside")


def test_a_factory_that_fails_leaves_nothing(loop, run):
    before = open_fds()
    with pytest.raises(Boom):
        run(loop.create_datagram_endpoint(raising(), local_addr=("127.0.0.1", 0)))
    gc.collect()
    assert open_fds() == before


@since(3, 12)
def test_a_socket_has_one_transport(loop, endpoint, run):
    sock = socket.socket(type=socket.SOCK_DGRAM)
    transport, _ = endpoint(sock=sock)
    with pytest.raises(RuntimeError, match="is used by transport"):
        run(loop.create_datagram_endpoint(Datagrams, sock=sock))
    for watch in (loop.add_reader, loop.add_writer):
        with pytest.raises(RuntimeError, match="is used by transport"):
            watch(sock, print)
    assert not transport.is_closing()


def test_a_socket_with_methods_of_its_own_is_used_by_them(loop, endpoint, plain, run):
    class Loud(socket.socket):
        def sendto(self, data, address):
            return super().sendto(data + b"!", address)

        def recvfrom(self, size):
            data, address = super().recvfrom(size)
            return data.upper(), address

    transport, protocol = endpoint(sock=Loud(type=socket.SOCK_DGRAM))
    transport.sendto(b"hello", plain.getsockname())
    data, address = plain.recvfrom(10)
    plain.sendto(data, ("127.0.0.1", address[1]))
    run(protocol.until_called("datagram_received"))
    assert data_of(protocol) == [b"HELLO!"]


def test_other_families_work_as_well(loop, endpoint, run):
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 0)
        sock.bind((0, 0))
    except (AttributeError, OSError):
        pytest.skip("no netlink here")
    transport, protocol = endpoint(sock=sock)
    # RTM_GETLINK, a dump of all interfaces
    request = (32).to_bytes(4, "little") + b"\x12\x00\x01\x03" + bytes(8) + bytes(16)
    transport.sendto(request, (0, 0))
    run(protocol.until_called("datagram_received"))
    assert protocol.received[0][1] == (0, 0)


def test_in_debug_mode(loop, endpoint, plain, run):
    loop.set_debug(True)
    transport, protocol = endpoint()
    transport.sendto(b"x", plain.getsockname())
    plain.sendto(b"y", plain.recvfrom(10)[1])
    run(protocol.until_called("datagram_received"))
    transport.pause_reading()
    transport.resume_reading()
    transport.close()
    run(protocol.until_called("connection_lost"))
