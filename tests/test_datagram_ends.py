"""How datagram transports begin and end, and what is left of them."""

import asyncio
import contextvars
import gc
import logging
import socket
import warnings
import weakref

import pytest
from datagram_support import data_of, name_of
from support import Boom, Datagrams, open_fds, raising, since, spin

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

    def factory():
        return Datagrams(connection_made=lambda transport: getattr(transport, method)())

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
