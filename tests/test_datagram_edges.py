"""Datagram transports at the edges: wrong data, batches, errors, flow control."""

import pytest
from datagram_support import data_of, deliver, name_of
from support import Boom, Datagrams, raising, since, spin

FORGOTTEN_HEADERS = pytest.mark.asyncio_wrong(
    "3.13.0 adds the headers of datagrams and never takes them off",
    since=(3, 13),
    until=(3, 14),
    strict=False,
)


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
