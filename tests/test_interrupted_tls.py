"""KeyboardInterrupt and SystemExit out of callbacks of a TLS connection: the next run goes on."""

import asyncio
import socket

import pytest
from support import Recorder, hooked, raising_once
from tls_support import client_context, server_context

STUCK = "who waits for the connection does so for ever"
DEAF = "what has been received waits for the next record"

pytestmark = [
    pytest.mark.usefixtures("tls_session"),
    pytest.mark.parametrize("exc", [KeyboardInterrupt, SystemExit]),
]


class Small(Recorder, asyncio.BufferedProtocol):
    """Takes ten bytes at a time."""

    def get_buffer(self, hint):
        self.buffer = bytearray(10)
        return self.buffer

    def buffer_updated(self, size):
        self.data += self.buffer[:size]
        self.note("buffer_updated", size)


@pytest.fixture
def both_ends(loop):
    """Starts to open both ends on the loop: a task for (client, server)."""
    made = []

    def both_ends(client_factory, server_factory=Recorder):
        async def opened():
            ours, theirs = socket.socketpair()
            accept = loop.connect_accepted_socket(server_factory, theirs, ssl=server_context())
            accepting = asyncio.ensure_future(accept)
            connecting = loop.create_connection(
                client_factory, sock=ours, ssl=client_context(), server_hostname="localhost"
            )
            async with asyncio.timeout(5):
                ends = await asyncio.gather(connecting, accepting)
            made.extend(protocol for _, protocol in ends)
            return made

        return loop.create_task(opened())

    yield both_ends
    for protocol in made:
        protocol.transport.abort()


@pytest.mark.asyncio_wrong(STUCK)
def test_out_of_connection_made(loop, run, both_ends, exc):
    opening = both_ends(hooked(connection_made=raising_once(exc)))
    with pytest.raises(exc):
        run(opening)
    client, server = run(opening)
    server.transport.write(b"data")
    run(client.until_data(4))


@pytest.mark.asyncio_wrong(DEAF)
def test_out_of_data_received(loop, run, both_ends, exc):
    client, server = run(both_ends(hooked(data_received=raising_once(exc))))
    server.transport.write(b"data")
    server.transport.close()
    with pytest.raises(exc):
        run(client.lost)
    run(asyncio.wait_for(client.lost, 2))
    assert client.data == b"data"
    assert client.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]


def test_out_of_buffer_updated(loop, run, both_ends, exc):
    client, server = run(both_ends(lambda: Small(buffer_updated=raising_once(exc))))
    sent = bytes(range(100))
    server.transport.write(sent)
    with pytest.raises(exc):
        run(client.until_data(100))
    assert client.data == sent[:10]
    run(asyncio.wait_for(client.until_data(100), 2))
    assert client.data == sent


def test_as_the_handshake_begins(loop, run, both_ends, exc):
    opening, call_later, left = both_ends(Recorder), loop.call_later, [exc("on purpose")]

    def call_later_once_interrupted(*args, **kwargs):
        if left:
            raise left.pop()
        return call_later(*args, **kwargs)

    loop.call_later = call_later_once_interrupted
    with pytest.raises(exc):
        run(opening)
    opening.cancel()
    run(asyncio.wait([opening]))
    assert opening.cancelled()
