"""TLS in TLS: layers of protected connections, each begun by start_tls over the one below."""

import asyncio
import gc
import random
import socket
import ssl
import weakref

import pytest
from support import Boom, Buffered, Recorder, hooked, raising
from tls_support import below, client_context, protect, server_context

pytestmark = pytest.mark.usefixtures("tls_session")

MIB = 1 << 20
#: Its TLS transports take no error to be closed with.
NO_ERRORS = pytest.mark.asyncio_wrong(
    "a layer that fails cannot end the one below it", until=(3, 13), strict=False
)


@pytest.mark.oxloop_only
def test_every_layer_is_ours(layered):
    client, server = layered(3)
    for protocol in (client, server):
        inner = protocol.transport
        middle, outer = below(inner), below(below(inner))
        assert {type(inner), type(middle), type(outer)} == {type(inner)}
        assert type(below(outer)).__name__ == "StreamTransport"


@pytest.mark.parametrize("layers", [2, 3])
def test_data_both_ways(layered, run, layers):
    client, server = layered(layers)
    for number in range(20):
        client.transport.write(b"ping%d" % number)
        run(server.until_data(len(b"ping%d" % number)))
        server.transport.write(bytes(server.data))
        run(client.until_data(len(server.data)))
        assert client.data == server.data == b"ping%d" % number
        client.data.clear()
        server.data.clear()
    assert client.calls.count("connection_made") == server.calls.count("connection_made") == 1


@pytest.mark.parametrize("seed", range(2))
def test_random_sizes_both_ways_at_once(loop, layered, run, seed):
    rng = random.Random(seed)
    client, server = layered(2 + seed % 2)
    sizes = (0, 1, 100, 2047, 2048, 16384, 65535, 65536, 200_000, 900_000)

    async def talk(protocol, total):
        sent = bytearray()
        while len(sent) < total:
            piece = rng.randbytes(rng.choice(sizes))
            sent += piece
            if rng.random() < 0.2:
                protocol.transport.writelines([piece[:100], b"", piece[100:]])
            else:
                protocol.transport.write(rng.choice((bytes, bytearray, memoryview))(piece))
            if rng.random() < 0.3:
                await asyncio.sleep(0)
        return bytes(sent)

    async def main():
        there, back = await asyncio.gather(talk(client, 3 * MIB), talk(server, 2 * MIB))
        await asyncio.gather(server.until_data(len(there)), client.until_data(len(back)))
        assert server.data == there and client.data == back

    run(main())


def test_what_is_written_right_before_close_arrives(layered, run):
    client, server = layered()
    client.transport.write(bytes(3 * MIB))
    client.transport.write(b"the end")
    client.transport.close()
    assert client.transport.is_closing()
    run(asyncio.gather(client.lost, server.lost))
    assert len(server.data) == 3 * MIB + 7 and server.data.endswith(b"the end")
    assert server.calls[-2:] == ["eof_received", "connection_lost"]
    assert (client.lost_with, server.lost_with) == (None, None)


def test_the_writer_is_told_to_pause_and_to_go_on(layered, run):
    client, server = layered()
    server.transport.pause_reading()

    async def main():
        written = 0
        while "pause_writing" not in client.calls:
            client.transport.write(bytes(50_000))
            written += 50_000
            await asyncio.sleep(0)
        assert client.transport.get_write_buffer_size() > 0
        assert len(server.data) == 0
        server.transport.resume_reading()
        await client.until_called("resume_writing")
        await server.until_data(written)
        assert client.calls.count("pause_writing") == client.calls.count("resume_writing")

    run(main())


@pytest.mark.oxloop_only
@pytest.mark.parametrize("high", [0, 1, 1000, 100_000, 4 * MIB])
def test_limits_of_the_writer(layered, run, high):
    """asyncio does not count what the layers below hold: it tells only if those are full."""
    client, server = layered()
    client.transport.set_write_buffer_limits(high=high)
    assert client.transport.get_write_buffer_limits()[1] == high

    async def main():
        sent = 0
        for size in (1, 500, 20_000, 300_000, 6 * MIB):
            client.transport.write(bytes(size))
            sent += size
            await server.until_data(sent)
            while client.calls.count("pause_writing") > client.calls.count("resume_writing"):
                await asyncio.sleep(0)

    run(main())
    assert "pause_writing" in client.calls


@pytest.mark.oxloop_only
@pytest.mark.parametrize("layer", [1, 2])
def test_large_limits_of_a_layer_below_keep_no_writer_waiting(loop, run, layer):
    """Who is told to pause by the uppermost layer is told to go on, whatever those below allow."""

    async def main():
        ours, theirs = socket.socketpair()
        _, client = await loop.create_connection(Recorder, sock=ours)
        _, server = await loop.connect_accepted_socket(Recorder, theirs)
        for number in range(1, 3):
            if number == layer:
                client.transport.set_write_buffer_limits(high=16 * MIB)
            await protect(loop, client, server)
        server.transport.pause_reading()
        client.transport.write(bytes(2 * MIB))
        assert client.calls[-1] == "pause_writing"
        server.transport.resume_reading()
        await client.until_called("resume_writing")
        client.transport.close()
        await asyncio.gather(client.lost, server.lost)
        assert len(server.data) == 2 * MIB

    run(main())


def test_a_paused_reader_gets_nothing_and_then_everything(layered, run):
    client, server = layered()

    async def main():
        server.transport.pause_reading()
        assert not server.transport.is_reading()
        client.transport.write(bytes(2 * MIB))
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert len(server.data) == 0
        server.transport.resume_reading()
        assert server.transport.is_reading()
        await server.until_data(2 * MIB)

    run(main())


def test_a_reader_that_pauses_after_each_piece(loop, layered, run):
    def pause(data):
        server.transport.pause_reading()
        loop.call_later(0.0005, server.transport.resume_reading)

    client, server = layered(server_factory=hooked(data_received=pause))
    data = random.Random(1).randbytes(2 * MIB)
    client.transport.write(data)
    run(server.until_data(len(data)))
    assert server.data == data


@pytest.mark.parametrize("layer", ["inner", "outer", "plain"])
def test_abort_of_each_layer(loop, layered, run, layer):
    client, server = layered()
    inner = client.transport
    layers = {"inner": inner, "outer": below(inner), "plain": below(below(inner))}
    layers[layer].abort()
    assert "connection_lost" not in client.calls
    run(asyncio.gather(client.lost, server.lost))
    assert client.lost_with is None
    assert client.calls.count("connection_lost") == server.calls.count("connection_lost") == 1
    assert inner.is_closing() and layers["outer"].is_closing()


@pytest.mark.oxloop_only
@pytest.mark.parametrize("layer", ["inner", "outer"])
def test_what_is_written_right_before_abort_has_left(layered, run, layer):
    """Writes are joined here: had they not been, they would be on their way."""
    client, server = layered()

    async def main():
        client.transport.write(b"good")
        client.transport.write(b"bye")
        (client.transport if layer == "inner" else below(client.transport)).abort()
        await server.lost

    run(main())
    assert server.data == b"goodbye"


@pytest.mark.asyncio_wrong("it looks like a regular end")
@pytest.mark.parametrize("layer", ["inner", "outer"])
def test_an_end_without_goodbye(layered, run, layer):
    """The inner layer was cut, whether or not the one below it says goodbye."""
    client, server = layered()

    async def main():
        server.transport.write(b"cut")
        await client.until_data(3)
        if layer == "inner":
            below(server.transport).close()
        else:
            below(below(server.transport)).close()
        await asyncio.gather(client.lost, server.lost)

    run(main())
    assert client.data == b"cut"
    assert isinstance(client.lost_with, ssl.SSLEOFError)
    assert client.calls[-2:] == ["eof_received", "connection_lost"]


def test_no_goodbye_is_missed_if_we_had_the_last_word(layered, run):
    client, server = layered()

    async def main():
        client.transport.write(b"last word")
        await server.until_data(9)
        below(server.transport).close()
        await asyncio.gather(client.lost, server.lost)

    run(main())
    assert client.lost_with is None


def test_closing_the_layer_below_sends_what_was_written_above(layered, run):
    client, server = layered()

    async def main():
        client.transport.write(b"last words")
        below(client.transport).close()
        await asyncio.gather(client.lost, server.lost)

    run(main())
    assert server.data == b"last words"


def test_extra_info_of_both_layers(layered):
    client, _ = layered()
    inner, outer = client.transport, below(client.transport)
    assert isinstance(inner.get_extra_info("ssl_object"), ssl.SSLObject)
    assert isinstance(outer.get_extra_info("ssl_object"), ssl.SSLObject)
    assert inner.get_extra_info("ssl_object") is not outer.get_extra_info("ssl_object")
    assert inner.get_extra_info("sslcontext") is not outer.get_extra_info("sslcontext")
    assert inner.get_extra_info("peercert") == outer.get_extra_info("peercert") != {}
    assert inner.get_extra_info("cipher") and outer.get_extra_info("cipher")
    socks = {layer.get_extra_info("socket").fileno() for layer in (inner, outer)}
    assert len(socks) == 1 and min(socks) > 0
    assert inner.get_extra_info("nonsense", 5) == 5


@NO_ERRORS
def test_an_exception_of_the_protocol(layered, run, errors):
    client, server = layered(server_factory=hooked(data_received=raising()))
    client.transport.write(b"x")
    run(asyncio.gather(client.lost, server.lost))
    errors.take_one()
    assert isinstance(server.lost_with, Boom)


def test_an_exit_out_of_the_protocol_ends_the_run(loop, layered, run):
    client, server = layered(server_factory=hooked(data_received=raising(KeyboardInterrupt)))
    client.transport.write(b"x")
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    client.transport.write(b"y")
    server.hooks.clear()
    run(server.until_data(2))
    assert server.data == b"xy"


def test_a_buffered_protocol(loop, layered, run):
    client, server = layered(server_factory=lambda: Buffered(memoryview(bytearray(1000))))
    data = random.Random(2).randbytes(500_000)
    client.transport.write(data)
    client.transport.close()
    assert run(server.lost) is None
    assert server.data == data


def test_streams(loop, run):
    """`StreamWriter.start_tls` on both sides of a protected connection."""

    async def serve(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go ahead\n")
        await writer.drain()
        await writer.start_tls(server_context())
        while line := await reader.readline():
            writer.write(line.upper())
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context())
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=client_context(), server_hostname="localhost"
        )
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go ahead\n"
        await writer.start_tls(client_context(), server_hostname="localhost")
        for number in range(200):
            writer.write(b"line %d\n" % number)
            await writer.drain()
        for number in range(200):
            assert await reader.readline() == b"LINE %d\n" % number
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


def test_writes_that_no_other_run_may_follow_are_sent(loop, layered, run):
    client, server = layered()
    client.transport.write(b"between runs")
    loop.call_soon(client.transport.write, b", and in the last")
    loop.call_soon(raising(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    run(server.until_data(29))
    assert server.data == b"between runs, and in the last"


@pytest.mark.oxloop_only
def test_a_layer_that_was_just_closed_gives_none(loop, layered, run):
    """As of a transport that is not protected. asyncio waits for the handshake's time to pass."""
    client, server = layered(1)

    async def main():
        client.transport.abort()
        protocol = Recorder()
        upgraded = await loop.start_tls(
            client.transport, protocol, client_context(), server_hostname="localhost"
        )
        assert upgraded is None
        await protocol.lost
        return protocol

    assert run(main()).calls == ["connection_lost"]
    run(server.lost)


@pytest.mark.oxloop_only
def test_a_layer_that_is_lost_cannot_be_protected(loop, layered, run):
    """asyncio waits for the handshake's time to pass."""
    client, server = layered(1)
    client.transport.abort()
    run(asyncio.gather(client.lost, server.lost))
    with pytest.raises(ConnectionResetError):
        run(loop.start_tls(client.transport, client, client_context(), server_hostname="x"))


def test_nothing_is_left_of_the_layers(layered, run):
    client, server = layered(3)
    client.transport.close()
    run(asyncio.gather(client.lost, server.lost))
    names = [weakref.ref(below(p.transport) or p.transport) for p in (client, server)]
    names += [weakref.ref(p.transport) for p in (client, server)]
    client.transport = server.transport = None
    gc.collect()
    left = [name() for name in names if name() is not None]
    # The fixture knows the undermost of each.
    assert all(below(transport) is None for transport in left)
