"""The interpreter's SSLContext in full: callbacks, client certificates, sessions, what follows the
handshake. What a callback does to the transport."""

import asyncio
import contextlib
import gc
import shutil
import socket
import ssl
import subprocess
import weakref

import pytest
from support import Boom, Recorder, eventually, hooked, raising, since, spin
from tls_support import CERTIFICATE, client_context, server_context

pytestmark = pytest.mark.usefixtures("tls_session")


@pytest.fixture
def connect_tls(loop):
    """Both ends of a connection: `client, server = connect_tls(client_ctx, server_ctx)`."""
    made = []

    def connect_tls(
        client=None, server=None, client_factory=Recorder, server_factory=Recorder, **options
    ):
        async def open_both():
            ours, theirs = socket.socketpair()
            accepting = loop.create_task(
                loop.connect_accepted_socket(server_factory, theirs, ssl=server or server_context())
            )
            connecting = loop.create_connection(
                client_factory,
                sock=ours,
                ssl=client or client_context(),
                server_hostname="localhost",
            )
            results = await asyncio.gather(connecting, accepting, return_exceptions=True)
            for result in results:
                if isinstance(result, tuple):
                    made.append(result[1])
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            return [protocol for _, protocol in results]

        return loop.run_until_complete(open_both())

    yield connect_tls
    for protocol in made:
        if protocol.transport is not None:
            protocol.transport.abort()
    spin(loop)


def talk(run, client, server):
    """A message each way."""
    before = len(server.data), len(client.data)
    client.transport.write(b"ping")
    run(server.until_data(before[0] + 4))
    server.transport.write(b"pong")
    run(client.until_data(before[1] + 4))


def test_alpn(connect_tls, run):
    client, server = client_context(), server_context()
    client.set_alpn_protocols(["h2", "http/1.1"])
    server.set_alpn_protocols(["http/1.1"])
    ends = connect_tls(client, server)
    for end in ends:
        assert end.transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    talk(run, *ends)


def test_a_server_name_callback_chooses_the_context(connect_tls, run):
    first, second = server_context(), server_context()
    second.set_alpn_protocols(["chosen"])
    names = []

    def choose(session, name, context):
        names.append((name, context))
        session.context = second

    first.sni_callback = choose
    client = client_context()
    client.set_alpn_protocols(["chosen"])
    ends = connect_tls(client, first)
    assert names == [("localhost", first)]
    assert ends[0].transport.get_extra_info("ssl_object").selected_alpn_protocol() == "chosen"
    talk(run, *ends)


@pytest.mark.asyncio_wrong("the alert is not sent: the client sees a reset")
def test_a_server_name_callback_refuses(connect_tls, run):
    server = server_context()
    server.sni_callback = lambda *args: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        connect_tls(None, server)


@pytest.mark.oxloop_only
def test_a_callback_may_call_the_transport(loop, connect_tls, run):
    """Called from within the session: what it asks for happens afterwards, in order.

    asyncio loses its place in its own queue.
    """
    client = client_context()
    transports, calls = [], []

    def callback(session, direction, version, content_type, message_type, data):
        # The message callback sees every record: of 1.3, its content type too.
        if transports and len(calls) < 3:
            calls.append(direction)
            transports[0].write(b"%d" % len(calls))
            transports[0].get_write_buffer_size()
            gc.collect()

    client._msg_callback = callback
    client_end, server_end = connect_tls(client)
    transports.append(client_end.transport)
    client_end.transport.write(b"0")
    run(server_end.until_data(4))
    assert server_end.data == b"0123"


def test_a_message_callback(connect_tls, run):
    """It sees the records of both directions, and may write; its errors reach somebody."""
    seen = set()
    client = client_context()

    def callback(session, direction, version, content_type, message_type, data):
        seen.add(direction)
        gc.collect()

    client._msg_callback = callback
    ends = connect_tls(client, None)
    talk(run, *ends)
    assert seen == {"read", "write"}


def test_a_client_certificate(connect_tls, run):
    client, server = client_context(), server_context()
    client.load_cert_chain(CERTIFICATE)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(CERTIFICATE)
    ends = connect_tls(client, server)
    talk(run, *ends)
    subject = ends[1].transport.get_extra_info("peercert")["subject"]
    assert (("commonName", "localhost"),) in subject


def test_a_missing_client_certificate(connect_tls, run):
    server = server_context()
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(CERTIFICATE)
    with pytest.raises(ssl.SSLError):
        connect_tls(None, server)


def test_a_certificate_asked_for_after_the_handshake(connect_tls, run):
    client, server = client_context(), server_context()
    client.load_cert_chain(CERTIFICATE)
    client.post_handshake_auth = True
    server.verify_mode = ssl.CERT_REQUIRED
    server.post_handshake_auth = True
    server.load_verify_locations(CERTIFICATE)
    client_end, server_end = connect_tls(client, server)
    session = server_end.transport.get_extra_info("ssl_object")
    session.verify_client_post_handshake()
    talk(run, client_end, server_end)
    talk(run, client_end, server_end)
    assert session.getpeercert()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions(connect_tls, run, version):
    client = client_context()
    client.minimum_version = client.maximum_version = version
    ends = connect_tls(client)
    name = ends[0].transport.get_extra_info("ssl_object").version()
    assert name == version.name.replace("_", ".")
    talk(run, *ends)
    ends[0].transport.close()
    run(asyncio.gather(ends[0].lost, ends[1].lost))
    assert (ends[0].lost_with, ends[1].lost_with) == (None, None)


def test_session_objects(connect_tls, run):
    client, server = client_context(), server_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    ends = connect_tls(client, server)
    talk(run, *ends)
    session = ends[0].transport.get_extra_info("ssl_object").session
    assert session.has_ticket and session.timeout > 0


@since(3, 13)
def test_pre_shared_keys(connect_tls, run):
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    for context in (client, server):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("PSK")
    client.set_psk_client_callback(lambda hint: ("me", b"\1" * 32))
    server.set_psk_server_callback(lambda identity: b"\1" * 32)
    talk(run, *connect_tls(client, server))


def test_an_ssl_object_of_ones_own(connect_tls, run):
    calls = []

    class Counting(ssl.SSLObject):
        def read(self, len=1024, buffer=None):
            calls.append("read")
            return super().read(len, buffer)

        def write(self, data):
            calls.append("write")
            return super().write(data)

    client = client_context()
    client.sslobject_class = Counting
    ends = connect_tls(client)
    talk(run, *ends)
    assert {"read", "write"} <= set(calls)
    assert type(ends[0].transport.get_extra_info("ssl_object")) is Counting


def test_the_ssl_object_may_be_asked_from_another_thread(connect_tls, run, loop):
    client, server = connect_tls()
    session = client.transport.get_extra_info("ssl_object")

    async def main():
        def ask():
            return [(session.cipher(), session.version(), session.pending()) for _ in range(2000)]

        asking = asyncio.gather(*(loop.run_in_executor(None, ask) for _ in range(2)))
        while not asking.done():
            client.transport.write(bytes(20_000))
            before = len(server.data)
            await server.until_data(before + 20_000)
        await asking

    server.hooks["data_received"] = lambda data: None
    run(main())


def test_nothing_is_left_of_a_connection(loop, connect_tls, run):
    context = client_context()
    client, server = connect_tls(context)
    client.transport.write(b"x")
    client.transport.close()
    run(asyncio.gather(client.lost, server.lost))
    assert client.transport.get_extra_info("ssl_object").version()
    spin(loop)
    gc.collect()
    gone = weakref.ref(context), weakref.ref(client.transport)
    client.transport = server.transport = context = None
    assert [one() for one in gone] == [None, None]


# ── openssl, the program ─────────────────────────────────────────────────────────────────────

OPENSSL = shutil.which("openssl")


@pytest.fixture
def echo_server(loop, run, cleanup):
    context = server_context()
    protocols = []

    def factory():
        def echo(data):
            protocol.transport.write(data)

        protocol = Recorder(data_received=echo)
        protocols.append(protocol)
        return protocol

    def start(**options):
        for name, value in options.items():
            setattr(context, name, value)
        server = run(loop.create_server(factory, "127.0.0.1", 0, ssl=context))
        cleanup.append(server)
        return server.sockets[0].getsockname()[1], protocols

    yield start
    for protocol in protocols:
        if protocol.transport is not None:
            protocol.transport.abort()
    spin(loop)


async def s_client(port, *lines, options=()):
    """What `openssl s_client` prints after it was given these lines, one after the other."""
    child = await asyncio.create_subprocess_exec(
        OPENSSL,
        "s_client",
        "-connect",
        f"127.0.0.1:{port}",
        "-CAfile",
        CERTIFICATE,
        *options,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        seen = b""
        while b"Verify return code" not in seen:
            line = await child.stdout.readline()
            assert line, seen
            seen += line
        for line, answer in lines:
            child.stdin.write(line)
            await child.stdin.drain()
            seen = b""
            while answer not in seen:
                data = await child.stdout.read(4096)
                assert data, seen
                seen += data
        child.stdin.close()
        await child.wait()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


@pytest.mark.skipif(OPENSSL is None, reason="needs the openssl program")
def test_openssl_s_client_changes_its_keys(echo_server, run):
    port, protocols = echo_server()
    steps = [(b"hello\n", b"hello"), (b"K\n", b"KEYUPDATE"), (b"after\n", b"after")]
    run(s_client(port, *steps, options=["-tls1_3"]))
    assert protocols[0].data == b"hello\nafter\n"


@pytest.mark.skipif(OPENSSL is None, reason="needs the openssl program")
def test_openssl_s_client_renegotiates(echo_server, run):
    allow_client_renegotiation = 0x100
    options = server_context().options | allow_client_renegotiation
    port, protocols = echo_server(options=options)
    steps = [(b"hello\n", b"hello"), (b"R\n", b"verify return"), (b"after\n", b"after")]
    run(s_client(port, *steps, options=["-tls1_2"]))
    assert protocols[0].data == b"hello\nafter\n"


# ── failures in a server ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("debug", [False, True])
def test_a_failed_handshake_is_reported_in_debug_mode_only(loop, run, echo_server, errors, debug):
    loop.set_debug(debug)
    port, _ = echo_server()

    async def main():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"this is not TLS, and long enough to be sure\r\n" * 10)
        await reader.read()
        writer.close()
        await eventually(lambda: not debug or errors.contexts)

    with contextlib.suppress(ConnectionError):
        run(main())
    contexts = errors.take()
    assert len(contexts) == debug
    for context in contexts:
        assert "Error on transport creation for incoming connection" in context["message"]
        assert isinstance(context["exception"], ssl.SSLError)


def test_a_failing_factory_closes_the_connection(loop, run, cleanup):
    server = run(loop.create_server(raising(Boom), "127.0.0.1", 0, ssl=server_context()))
    cleanup.append(server)

    async def main():
        for _ in range(3):
            with pytest.raises(OSError):
                await loop.create_connection(
                    asyncio.Protocol,
                    *server.sockets[0].getsockname(),
                    ssl=client_context(),
                    server_hostname="localhost",
                )

    run(main())


def test_a_failing_connection_made(loop, run, cleanup, errors):
    server = run(
        loop.create_server(hooked(connection_made=raising()), "127.0.0.1", 0, ssl=server_context())
    )
    cleanup.append(server)

    async def main():
        address = server.sockets[0].getsockname()
        _, protocol = await loop.create_connection(
            Recorder, *address, ssl=client_context(), server_hostname="localhost"
        )
        await protocol.lost

    run(main())
    spin(loop)
    assert [context for context in errors.take() if isinstance(context["exception"], Boom)]
