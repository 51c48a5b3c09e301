"""The writing side of stream transports: what is sent, flow control, flushing on close."""

import contextlib

import pytest
from support import Boom, hooked, raising, recv_all, recv_exactly, spin

MIB = 1 << 20


def pattern(size):
    return bytes(i * 7 % 251 for i in range(1024)) * (size // 1024)


# ── what may be written ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: memoryview(b)[:]])
def test_kinds_of_data(loop, connect, run, kind):
    transport, _, peer = connect()
    transport.write(kind(b"small"))
    transport.write(kind(pattern(MIB)))
    transport.write(kind(b"end"))
    transport.close()
    assert run(recv_all(loop, peer)) == b"small" + pattern(MIB) + b"end"


def test_slices_of_a_memoryview(loop, connect, run):
    transport, _, peer = connect()
    view = memoryview(pattern(MIB))
    for start in range(0, MIB, 10_000):
        transport.write(view[start : start + 10_000])
    transport.close()
    assert run(recv_all(loop, peer)) == pattern(MIB)


def test_a_view_with_gaps_is_never_sent_wrong(loop, connect, run, errors):
    """asyncio loses the connection over it; refusing it at the call is as good."""
    transport, _, peer = connect()
    with contextlib.suppress(BufferError):
        transport.write(memoryview(b"a-b-")[::2])
    transport.close()
    assert run(recv_all(loop, peer)) in (b"", b"ab")
    errors.take()


@pytest.mark.parametrize("data", ["text", None, 5, [b"x"], object()])
def test_other_types_are_refused(connect, data):
    transport, _, _ = connect()
    with pytest.raises(TypeError):
        transport.write(data)
    assert not transport.is_closing()


def test_empty_writes_do_nothing(loop, connect, run):
    transport, _, peer = connect()
    for empty in (b"", bytearray(), memoryview(b"")):
        transport.write(empty)
    assert transport.get_write_buffer_size() == 0
    transport.write(b"x")
    transport.write(b"")
    transport.close()
    assert run(recv_all(loop, peer)) == b"x"


@pytest.mark.asyncio_wrong("what waits to be sent is shared with the caller", since=(3, 12))
def test_a_bytearray_changed_after_the_write(loop, connect, run):
    transport, _, peer = connect(sndbuf=4096)
    data = bytearray(pattern(MIB))
    transport.write(data)
    data[:] = bytes(MIB)
    transport.close()
    assert run(recv_all(loop, peer)) == pattern(MIB)


def test_a_small_bytearray_may_be_reused_at_once(loop, connect, run):
    transport, _, peer = connect()
    data = bytearray(1)
    for number in range(100):
        data[0] = number
        transport.write(data)
    transport.close()
    assert run(recv_all(loop, peer)) == bytes(range(100))


@pytest.mark.asyncio_wrong("what waits to be sent locks the caller's bytearray", since=(3, 12))
def test_a_bytearray_may_be_resized_after_the_write(loop, connect, run):
    transport, _, peer = connect(sndbuf=4096)
    data = bytearray(pattern(MIB))
    transport.write(data)
    try:
        data.clear()
    finally:
        transport.close()
        assert run(recv_all(loop, peer)) == pattern(MIB)


# ── writelines ───────────────────────────────────────────────────────────────────────────────


def test_writelines_joins(loop, connect, run):
    transport, _, peer = connect()
    transport.writelines([b"one ", bytearray(b"two "), memoryview(b"three")])
    transport.close()
    assert run(recv_all(loop, peer)) == b"one two three"


def test_writelines_takes_many(loop, connect, run):
    transport, _, peer = connect(sndbuf=4096)
    transport.writelines([b"%d," % number for number in range(5_000)])
    transport.close()
    expected = b"".join(b"%d," % number for number in range(5_000))
    assert run(recv_all(loop, peer)) == expected


@pytest.mark.asyncio_wrong("an empty chunk stays in the buffer for ever", strict=False)
def test_writelines_skips_empties(loop, connect, run):
    transport, protocol, peer = connect()
    transport.writelines([b"", b"a", b"", b"b", b""])
    spin(loop)
    assert run(recv_exactly(loop, peer, 2)) == b"ab"
    transport.writelines([b"", b""])
    spin(loop)
    assert transport.get_write_buffer_size() == 0
    transport.close()
    spin(loop)
    assert "connection_lost" in protocol.calls


def test_writelines_of_nothing(connect):
    transport, _, _ = connect()
    transport.writelines([])
    assert transport.get_write_buffer_size() == 0


@pytest.mark.parametrize("lines", [["text"], [5], 5])
def test_writelines_refuses_other_types(connect, lines):
    transport, _, _ = connect()
    with pytest.raises(TypeError):
        transport.writelines(lines)


@pytest.mark.asyncio_wrong("flow control is skipped", since=(3, 12), until=(3, 14), strict=False)
def test_writelines_respects_flow_control(loop, connect, run):
    transport, protocol, peer = connect(sndbuf=4096)
    transport.writelines([pattern(MIB), pattern(MIB)])
    assert protocol.calls == ["connection_made", "pause_writing"]
    transport.close()
    assert len(run(recv_all(loop, peer))) == 2 * MIB


# ── flow control ─────────────────────────────────────────────────────────────────────────────


def test_default_limits(connect):
    transport, _, _ = connect()
    assert transport.get_write_buffer_limits() == (16384, 65536)


@pytest.mark.parametrize(
    "given, limits",
    [
        ({"high": 1024}, (256, 1024)),
        ({"low": 1024}, (1024, 4096)),
        ({"high": 2048, "low": 128}, (128, 2048)),
        ({"high": 0}, (0, 0)),
        ({}, (16384, 65536)),
        ({"high": 5, "low": 5}, (5, 5)),
    ],
)
def test_set_write_buffer_limits(connect, given, limits):
    transport, _, _ = connect()
    transport.set_write_buffer_limits(high=1, low=1)
    transport.set_write_buffer_limits(**given)
    assert transport.get_write_buffer_limits() == limits


@pytest.mark.parametrize("given", [{"high": 1, "low": 2}, {"high": -1}, {"low": -1, "high": 5}])
def test_impossible_limits_are_refused(connect, given):
    transport, _, _ = connect()
    with pytest.raises(ValueError):
        transport.set_write_buffer_limits(**given)
    assert transport.get_write_buffer_limits() == (16384, 65536)


def test_pause_writing_is_called_inside_write(loop, connect, run):
    transport, protocol, peer = connect(sndbuf=4096)
    transport.write(pattern(MIB))
    assert protocol.calls == ["connection_made", "pause_writing"]
    assert transport.get_write_buffer_size() > 65536
    transport.write(b"more")
    assert protocol.calls.count("pause_writing") == 1
    run(recv_exactly(loop, peer, MIB + 4))
    run(protocol.until_called("resume_writing"))
    assert protocol.calls == ["connection_made", "pause_writing", "resume_writing"]
    assert transport.get_write_buffer_size() == 0


def test_resume_writing_comes_at_the_low_mark(loop, connect, run):
    sizes = []
    transport, protocol, peer = connect(
        hooked(resume_writing=lambda: sizes.append(transport.get_write_buffer_size())),
        sndbuf=4096,
    )
    transport.set_write_buffer_limits(high=100_000, low=50_000)
    transport.write(pattern(MIB))
    run(recv_exactly(loop, peer, MIB))
    run(protocol.until_called("resume_writing"))
    assert len(sizes) == 1 and sizes[0] <= 50_000


def test_below_the_high_mark_nothing_is_paused(loop, connect, run):
    transport, protocol, peer = connect()
    transport.set_write_buffer_limits(high=4 * MIB)
    transport.write(pattern(MIB))
    transport.close()
    run(recv_all(loop, peer))
    assert "pause_writing" not in protocol.calls


def test_a_high_mark_of_zero_pauses_whenever_something_waits(loop, connect, run):
    transport, protocol, peer = connect(sndbuf=4096)
    transport.set_write_buffer_limits(high=0)
    transport.write(pattern(MIB))
    assert protocol.calls == ["connection_made", "pause_writing"]
    run(recv_exactly(loop, peer, MIB))
    run(protocol.until_called("resume_writing"))
    assert transport.get_write_buffer_size() == 0


def test_a_high_mark_of_zero_does_not_pause_what_the_kernel_takes(loop, connect):
    """The transport tries to send before it pauses the protocol."""
    transport, protocol, _ = connect()
    transport.set_write_buffer_limits(high=0)
    transport.write(b"small")
    spin(loop)
    assert "pause_writing" not in protocol.calls


def test_lowering_the_high_mark_pauses_at_once(loop, connect, run):
    transport, protocol, peer = connect(sndbuf=4096)
    transport.set_write_buffer_limits(high=4 * MIB)
    transport.write(pattern(MIB))
    assert "pause_writing" not in protocol.calls
    transport.set_write_buffer_limits(high=1024)
    assert "pause_writing" in protocol.calls
    run(recv_exactly(loop, peer, MIB))
    run(protocol.until_called("resume_writing"))


def test_write_buffer_size_counts_what_is_not_sent(loop, connect, run):
    transport, _, peer = connect(sndbuf=4096)
    assert transport.get_write_buffer_size() == 0
    transport.write(pattern(MIB))
    first = transport.get_write_buffer_size()
    assert 0 < first <= MIB
    transport.write(bytes(1000))
    assert transport.get_write_buffer_size() == first + 1000
    transport.abort()
    assert transport.get_write_buffer_size() == 0


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_exception_in_flow_control_is_reported_and_survived(loop, connect, run, errors, method):
    transport, protocol, peer = connect(hooked(**{method: raising()}), sndbuf=4096)
    transport.write(pattern(MIB))
    assert run(recv_exactly(loop, peer, MIB)) == pattern(MIB)
    run(protocol.until_called("resume_writing"))
    context = errors.take_one()
    assert context["message"] == f"protocol.{method}() failed"
    assert context["transport"] is transport and context["protocol"] is protocol
    assert not transport.is_closing()


def test_write_inside_resume_writing(loop, connect, run):
    def again():
        transport.write(b"tail")
        transport.close()

    transport, protocol, peer = connect(hooked(resume_writing=again), sndbuf=4096)
    transport.write(pattern(MIB))
    assert run(recv_all(loop, peer)) == pattern(MIB) + b"tail"
    run(protocol.lost)


@pytest.mark.parametrize("method", ["abort", "close"])
def test_closing_inside_pause_writing(loop, connect, run, method):
    transport, protocol, peer = connect(
        hooked(pause_writing=lambda: getattr(transport, method)()), sndbuf=4096
    )
    transport.write(pattern(MIB))
    received = run(recv_all(loop, peer))
    run(protocol.lost)
    assert received == pattern(MIB)[: len(received)]
    assert method == "abort" or len(received) == MIB


def test_abort_of_a_paused_writer_tells_it_nothing_but_the_end(loop, connect, run):
    transport, protocol, _ = connect(sndbuf=4096)

    def write_and_abort():
        transport.write(b"waits for its flush")
        transport.write(pattern(MIB))
        transport.abort()

    loop.call_soon(write_and_abort)
    run(protocol.lost)
    assert protocol.calls == ["connection_made", "pause_writing", "connection_lost"]


# ── order and flushing ───────────────────────────────────────────────────────────────────────


def test_many_small_writes_keep_their_order(loop, connect, run):
    transport, _, peer = connect(sndbuf=4096)
    for number in range(5_000):
        transport.write(b"%d," % number)
    transport.close()
    expected = b"".join(b"%d," % number for number in range(5_000))
    assert run(recv_all(loop, peer)) == expected


def test_writes_from_callbacks_of_every_kind_arrive(loop, connect, run):
    transport, _, peer = connect()
    loop.call_soon(transport.write, b"a")
    loop.call_later(0.001, transport.write, b"b")
    loop.call_soon_threadsafe(transport.write, b"c")
    assert sorted(run(recv_exactly(loop, peer, 3))) == sorted(b"abc")


def test_a_small_write_is_sent_without_further_events(loop, connect, run):
    """A lone write from a callback leaves in that turn, the loop may then sleep."""
    transport, _, peer = connect()

    def data_received():
        assert peer.recv(10) == b"x"
        loop.stop()

    loop.add_reader(peer, data_received)
    loop.call_later(0.001, transport.write, b"x")
    loop.run_forever()
    loop.remove_reader(peer)


def test_close_delivers_everything_to_a_slow_reader(loop, connect, run):
    transport, protocol, peer = connect(sndbuf=4096)
    data = pattern(MIB)
    transport.write(data)
    transport.close()
    received = bytearray()

    async def read_slowly():
        while chunk := await loop.sock_recv(peer, 16384):
            received.extend(chunk)
            assert transport.is_closing()

    run(read_slowly())
    assert received == data
    run(protocol.lost)
    assert protocol.lost_with is None


def test_abort_drops_what_is_not_sent(loop, connect, run):
    transport, protocol, peer = connect(sndbuf=4096)
    transport.write(pattern(MIB))
    transport.abort()
    run(protocol.lost)
    assert len(run(recv_all(loop, peer))) < MIB


def test_abort_right_after_a_small_write(loop, connect, run):
    """What fits is sent by then: a last message before the line is cut."""
    transport, protocol, peer = connect()

    async def main():
        transport.write(b"good")
        transport.write(b"bye")
        transport.abort()

    run(main())
    assert run(recv_all(loop, peer)) == b"goodbye"
    run(protocol.lost)
    assert protocol.lost_with is None


def test_an_error_of_the_protocol_right_after_a_small_write(loop, connect, run, errors):
    def answer(data):
        protocol.transport.write(b"answer")
        raise Boom

    transport, protocol, peer = connect(hooked(data_received=answer))
    peer.send(b"question")
    assert run(recv_all(loop, peer)) == b"answer"
    run(protocol.lost)
    errors.take_one()


def test_writes_between_runs_are_sent_at_once(loop, connect):
    transport, protocol, peer = connect()
    transport.write(b"good")
    transport.write(b"bye")
    assert peer.recv(100) == b"goodbye"


def test_writes_of_an_interrupted_run_are_sent(loop, connect, run):
    transport, protocol, peer = connect()

    async def main():
        transport.write(b"goodbye")
        raise SystemExit

    with pytest.raises(SystemExit):
        run(main())
    assert peer.recv(100) == b"goodbye"


def test_abort_after_close_drops_what_is_not_sent(loop, connect, run):
    transport, protocol, peer = connect(sndbuf=4096)
    transport.write(pattern(MIB))
    transport.close()
    spin(loop)
    assert "connection_lost" not in protocol.calls
    transport.abort()
    run(protocol.lost)
    assert len(run(recv_all(loop, peer))) < MIB


@pytest.mark.asyncio_wrong("AttributeError in point releases before the fix", strict=False)
def test_abort_after_a_flushed_close_does_nothing(loop, connect, run):
    transport, protocol, peer = connect(sndbuf=4096)
    transport.write(pattern(MIB))
    transport.close()
    run(recv_all(loop, peer))
    run(protocol.lost)
    transport.abort()
    transport.close()
    spin(loop)
    assert protocol.calls.count("connection_lost") == 1


def test_write_after_close_is_dropped(loop, connect, run):
    transport, protocol, peer = connect()
    transport.write(b"before")
    spin(loop)
    transport.close()
    transport.write(b"after")
    run(protocol.lost)
    assert run(recv_all(loop, peer)) == b"before"


def test_a_vanished_peer_while_data_waits(loop, connect, run):
    transport, protocol, peer = connect(sndbuf=4096)
    transport.pause_reading()
    transport.write(pattern(MIB))
    peer.close()
    run(protocol.lost)
    assert isinstance(protocol.lost_with, ConnectionError)
    assert transport.get_write_buffer_size() == 0
