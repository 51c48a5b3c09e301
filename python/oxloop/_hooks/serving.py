"""Descriptors and listeners: what asyncio checks, and what a server does with a connection."""

import errno
import os
import selectors
import socket
from asyncio import base_events, constants

from .transports import transport_socket
from .versions import SERVER_HAS_CONTEXT

fileobj_to_fd = selectors._fileobj_to_fd


def fileno_of(fd):
    """The number behind *fd*; the error of ``_ensure_fd_no_transport`` if there is none."""
    try:
        return int(fd.fileno())
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"Invalid file object: {fd!r}") from None


def refuse_used_fd(loop, fd, number, transport):
    """RuntimeError if a transport has the descriptor: *transport*, or one borrowed from asyncio."""
    if transport is None:
        transport = loop._transports.get(number)
    if transport is not None and not transport.is_closing():
        raise RuntimeError(f"File descriptor {fd!r} is used by transport {transport!r}")


def accept_tls(loop, serving, fd):
    """A connection of a TLS server: asyncio's coroutine, over our transport."""
    try:
        conn = socket.socket(fileno=fd)
    except BaseException:
        os.close(fd)
        raise
    try:
        peername = conn.getpeername()
    except OSError:
        peername = None
    # asyncio takes no None for "the default".
    timeouts = {}
    if serving.ssl_handshake_timeout is not None:
        timeouts["ssl_handshake_timeout"] = serving.ssl_handshake_timeout
    if serving.ssl_shutdown_timeout is not None:
        timeouts["ssl_shutdown_timeout"] = serving.ssl_shutdown_timeout
    context = serving.context.copy()
    if SERVER_HAS_CONTEXT:
        timeouts["context"] = context
    accept = loop._accept_connection2(
        serving.protocol_factory,
        conn,
        {"peername": peername},
        serving.sslcontext,
        serving.server,
        **timeouts,
    )
    try:
        loop.create_task(accept, context=context)
    except BaseException:
        accept.close()
        conn.close()
        raise


def report_accept_error(loop, exc):
    """A protocol factory failed: asyncio says so in debug mode only."""
    if loop._debug:
        loop.call_exception_handler(
            {"message": "Error on transport creation for incoming connection", "exception": exc}
        )


_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def accept_failed(loop, serving, exc, first):
    """Accepting failed and is paused: one report an episode, another try in a while."""
    sock = serving.sock
    if first:
        if getattr(exc, "errno", None) in _OUT_OF_RESOURCES:
            message = "socket.accept() out of system resource"
        else:
            message = "socket.accept() failed"
        loop.call_exception_handler(
            {"message": message, "exception": exc, "socket": transport_socket(sock)}
        )
    loop.call_later(constants.ACCEPT_RETRY_DELAY, loop._resume_accepting, sock.fileno())


check_ssl_socket = base_events._check_ssl_socket
