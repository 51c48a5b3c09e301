"""TLS contexts over the test certificate, and peers that speak TLS from a thread."""

import asyncio
import pathlib
import socket
import ssl
import threading

CERTIFICATE = str(pathlib.Path(__file__).parent / "certs" / "localhost.pem")


def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_context(trusting=True):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trusting:
        context.load_verify_locations(CERTIFICATE)
    return context


class ThreadPeer:
    """A blocking TLS server over one socket, driven from a thread."""

    def __init__(self, sock, talk):
        sock.settimeout(20)
        self.thread = threading.Thread(target=self.run, args=(sock, talk))
        self.error = None
        self.thread.start()

    def run(self, sock, talk):
        try:
            with server_context().wrap_socket(sock, server_side=True) as tls:
                talk(tls)
        except OSError as exc:
            self.error = exc

    def join(self):
        self.thread.join()


def start_peer(talk):
    """Start a TLS server thread and return it with the client's plain socket."""
    ours, theirs = socket.socketpair()
    return ThreadPeer(theirs, talk), ours


async def protect(loop, client, server, **options):
    upgraded = await asyncio.gather(
        loop.start_tls(
            client.transport, client, client_context(), server_hostname="localhost", **options
        ),
        loop.start_tls(server.transport, server, server_context(), server_side=True, **options),
    )
    client.transport, server.transport = upgraded


def below(transport):
    return transport._ssl_protocol._transport


async def protect_late(loop, client, server):
    """Both ends upgraded, the server's when it has the client's first message already."""
    server.transport.pause_reading()
    upgrading = loop.create_task(
        loop.start_tls(client.transport, client, client_context(), server_hostname="localhost")
    )
    await asyncio.sleep(0.01)
    server.transport = await loop.start_tls(
        server.transport, server, server_context(), server_side=True
    )
    client.transport = await upgrading
