"""create_connection: addresses, fallbacks, errors, and nothing left open when cancelled."""

import asyncio
import gc
import socket

import pytest
from support import Boom, Recorder, raising, since, spin


@pytest.fixture
def closed_port(cleanup):
    """An address nobody listens on."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    cleanup.append(sock)
    return sock.getsockname()


def resolving_to(loop, *addresses):
    """Let the loop resolve every name to these addresses."""

    async def getaddrinfo(host, port, **kwargs):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    loop.getaddrinfo = getaddrinfo


async def dial(loop, host, port, **options):
    transport, _ = await loop.create_connection(Recorder, host, port, **options)
    peername = transport.get_extra_info("peername")
    transport.abort()
    await asyncio.sleep(0)
    return peername


def test_refused(loop, run, closed_port):
    with pytest.raises(ConnectionRefusedError):
        run(dial(loop, *closed_port))


def test_the_next_address_is_tried(loop, run, listener, closed_port):
    resolving_to(loop, closed_port, listener.getsockname())
    assert run(dial(loop, "oxloop.invalid", 1)) == listener.getsockname()


@pytest.mark.parametrize("options", [{"happy_eyeballs_delay": 0.25}, {"interleave": 1}])
def test_happy_eyeballs(loop, run, listener, closed_port, options):
    resolving_to(loop, closed_port, listener.getsockname())
    assert run(dial(loop, "oxloop.invalid", 1, **options)) == listener.getsockname()
    spin(loop)


def test_interleave_takes_turns_between_the_families(loop, run, monkeypatch):
    four, six = ("127.0.0.1", 9), ("::1", 9, 0, 0)
    tried = []

    async def getaddrinfo(host, port, **options):
        kinds = [(socket.AF_INET6, six)] * 3 + [(socket.AF_INET, four)] * 2
        return [(family, socket.SOCK_STREAM, 6, "", address) for family, address in kinds]

    async def sock_connect(sock, address):
        tried.append(len(address))
        raise OSError("on purpose")

    loop.getaddrinfo, loop.sock_connect = getaddrinfo, sock_connect
    for interleave, expected in ((1, [4, 2, 4, 2, 4]), (2, [4, 4, 2, 4, 2])):
        with pytest.raises(OSError):
            run(dial(loop, "x.invalid", 1, interleave=interleave))
        assert tried == expected
        tried.clear()


def test_happy_eyeballs_does_not_wait_for_a_slow_address(loop, run, listener):
    """The address that does not answer is given up when another does."""
    connect, given_up = loop.sock_connect, []
    resolving_to(loop, ("127.0.0.2", 9), listener.getsockname())

    async def sock_connect(sock, address):
        if address != listener.getsockname():
            try:
                await loop.create_future()
            finally:
                given_up.append(address)
        await connect(sock, address)

    loop.sock_connect = sock_connect
    options = {"happy_eyeballs_delay": 0.01}
    assert run(dial(loop, "x.invalid", 1, **options)) == listener.getsockname()
    assert given_up == [("127.0.0.2", 9)]
    spin(loop)


def test_all_refused_names_every_error(loop, run, closed_port, cleanup):
    other = socket.socket()
    other.bind(("127.0.0.2", 0))
    cleanup.append(other)
    resolving_to(loop, closed_port, other.getsockname())
    with pytest.raises(OSError, match="Multiple exceptions"):
        run(dial(loop, "oxloop.invalid", 1))


@since(3, 12)
def test_all_errors(loop, run, closed_port):
    resolving_to(loop, closed_port, closed_port)
    with pytest.raises(ExceptionGroup) as caught:
        run(dial(loop, "oxloop.invalid", 1, all_errors=True))
    assert [type(exc) for exc in caught.value.exceptions] == [ConnectionRefusedError] * 2


def test_local_address(loop, run, listener):
    async def main():
        transport, _ = await loop.create_connection(
            Recorder, *listener.getsockname(), local_addr=("127.0.0.2", 0)
        )
        name = transport.get_extra_info("sockname")
        transport.abort()
        await asyncio.sleep(0)
        return name

    assert run(main())[0] == "127.0.0.2"


def test_a_name_that_resolves_to_nothing(loop, run):
    resolving_to(loop)
    with pytest.raises(OSError, match="empty list"):
        run(dial(loop, "oxloop.invalid", 1))


def test_a_null_character_in_the_host(loop, run):
    with pytest.raises(ValueError):
        run(dial(loop, "127.0.0.1\0.invalid", 1))


def test_an_own_socket(loop, run, listener):
    sock = socket.create_connection(listener.getsockname())
    transport, _ = run(loop.create_connection(Recorder, sock=sock))
    assert transport.get_extra_info("socket").fileno() == sock.fileno()
    assert sock.gettimeout() == 0
    transport.abort()


class Wiretap:
    """Stands in for a socket and notes what goes through it."""

    def __init__(self, sock):
        self.sock = sock
        self.used = set()

    def __getattr__(self, name):
        self.used.add(name)
        return getattr(self.sock, name)


def test_what_stands_in_for_a_socket_is_asked_itself(loop, run, cleanup):
    ours, peer = socket.socketpair()
    cleanup.append(peer)
    peer.send(b"ping")
    tap = Wiretap(ours)
    transport, protocol = run(loop.create_connection(Recorder, sock=tap))
    run(protocol.until_data(4))
    transport.write(b"pong")
    assert transport.get_extra_info("socket").fileno() == ours.fileno()
    assert {"recv", "send"} <= tap.used
    assert peer.recv(4) == b"pong"
    transport.close()
    run(protocol.lost)
    assert ours.fileno() == -1


def test_contradicting_arguments_are_refused(loop, run, cleanup):
    sock = socket.socket()
    udp = socket.socket(type=socket.SOCK_DGRAM)
    cleanup.extend((sock, udp))
    for args, options in (
        ((), {}),
        (("127.0.0.1", 1), {"sock": sock}),
        ((), {"sock": udp}),
        (("127.0.0.1", 1), {"server_hostname": "x"}),
        (("127.0.0.1", 1), {"ssl_handshake_timeout": 1}),
        ((), {"ssl": True}),
    ):
        with pytest.raises(ValueError):
            run(loop.create_connection(Recorder, *args, **options))


def test_a_raising_factory(loop, run, listener):
    with pytest.raises(Boom):
        run(loop.create_connection(raising(), *listener.getsockname()))
    spin(loop)


@pytest.mark.parametrize("turns", range(8))
def test_cancelled_at_any_moment_leaves_no_descriptor(loop, run, listener, turns):
    async def main():
        task = loop.create_task(loop.create_connection(Recorder, *listener.getsockname()))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            transport, _ = await task
            transport.abort()
        except asyncio.CancelledError:
            pass
        await asyncio.sleep(0.001)

    run(main())
    spin(loop)


def test_a_timeout_leaves_no_descriptor(loop, run, cleanup):
    """A listener whose queue is full does not answer; the caller gives up."""
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    cleanup.extend((full, *fillers))
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(dial(loop, *full.getsockname()), 0.02)

    run(main())
    spin(loop)


def test_connect_accepted_socket(loop, run, listener):
    with socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        transport, protocol = run(loop.connect_accepted_socket(Recorder, accepted))
        client.send(b"hello")
        run(protocol.until_data(5))
        transport.close()
        run(protocol.lost)


def test_connect_accepted_socket_refuses_datagrams(loop, run):
    with socket.socket(type=socket.SOCK_DGRAM) as udp, pytest.raises(ValueError):
        run(loop.connect_accepted_socket(Recorder, udp))


def test_a_protocol_that_is_none_leaves_nothing_behind(loop, run):
    """The error comes at the call; the number is free for whoever gets it next."""

    async def main():
        ours, peer = socket.socketpair()
        with ours, peer:
            ours.setblocking(False)
            with pytest.raises(AttributeError):
                await loop.create_connection(lambda: None, sock=ours)

    run(main())
    gc.collect()
    ours, peer = socket.socketpair()
    with ours, peer:
        for sock in (ours, peer):
            loop.add_reader(sock, print)
            assert loop.remove_reader(sock)


@pytest.mark.parametrize("asked_before", [(), ("socket",), ("peername",)])
def test_extra_information_in_any_order(loop, run, cleanup, asked_before):
    accepted = []

    async def main():
        class Kept(asyncio.Protocol):
            def connection_made(self, transport):
                accepted.append(transport)

        server = await loop.create_server(Kept, "127.0.0.1", 0)
        cleanup.append(server)
        address = server.sockets[0].getsockname()
        client, _ = await loop.create_connection(asyncio.Protocol, *address)
        while not accepted:
            await asyncio.sleep(0)
        (transport,) = accepted
        for name in asked_before:
            assert transport.get_extra_info(name) is not None
        assert transport.get_extra_info("sslcontext") is None
        assert transport.get_extra_info("sslcontext", 7) == 7
        assert transport.get_extra_info("peername") == client.get_extra_info("sockname")
        assert transport.get_extra_info("peername", 7) == client.get_extra_info("sockname")
        assert transport.get_extra_info(name="sockname", default=7) == address
        assert transport.get_extra_info("nothing", default=7) == 7
        for wrong in ((), ("socket", 1, 2)):
            with pytest.raises(TypeError):
                transport.get_extra_info(*wrong)
        with pytest.raises(TypeError):
            transport.get_extra_info([])
        client.abort()
        transport.abort()
        await asyncio.sleep(0.01)
        assert transport.get_extra_info("peername") == client.get_extra_info("sockname")

    run(main())
