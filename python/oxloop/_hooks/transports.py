"""What a transport shows: extra information, reprs, limits; and asyncio's own transports."""

import os
import socket
import struct
import sys
from asyncio import trsock

from .classes import FlowControlMixin, SelectorEventLoop, Socket
from .versions import PYTHON, SERVER_HAS_CONTEXT

transport_socket = trsock.TransportSocket


def make_foreign_transport(loop, sock, protocol, waiter, extra, server, context):
    """asyncio's own transport, for an object that stands in for a socket.

    What it does is in its methods, and its descriptor may be invented.
    """
    options = {"context": context} if SERVER_HAS_CONTEXT else {}
    return SelectorEventLoop._make_socket_transport(
        loop, sock, protocol, waiter, extra=extra, server=server, **options
    )


def note_transport(loop, fd, transport):
    """The loop's own list of who uses which descriptor; asyncio's datagram transports are in it."""
    loop._transports[fd] = transport


def make_foreign_datagram_transport(loop, sock, protocol, address, waiter, extra):
    """asyncio's own, for what stands in for a socket, and for families that are not known here."""
    return SelectorEventLoop._make_datagram_transport(loop, sock, protocol, address, waiter, extra)


_DATAGRAM_METHODS = ("recvfrom", "send", "sendto")


def is_plain_datagram_socket(sock):
    """Whether a socket's methods are Python's own, so that system calls do what they would do."""
    kind = type(sock)
    return all(getattr(kind, name, None) is getattr(Socket, name) for name in _DATAGRAM_METHODS)


def literal_address(sock, address):
    """*address* without a name to look up, as ``sock.sendto`` would understand it."""
    if sock.family == socket.AF_UNIX:
        return os.fsencode(address) if isinstance(address, str) else bytes(address)
    host, port, *rest = address
    if host == "":
        host = "0.0.0.0" if sock.family == socket.AF_INET else "::"
    elif host == "<broadcast>":
        host = "255.255.255.255"
    literal = socket.getaddrinfo(host, port, sock.family, sock.type)[0][4]
    return (*literal[:2], *rest, *literal[2 + len(rest) :])


def transport_extra(sock, extra):
    """The extra information of a transport over a Python socket."""
    info = dict(extra) if extra else {}
    info["socket"] = transport_socket(sock)
    try:
        info["sockname"] = sock.getsockname()
    except OSError:
        info["sockname"] = None
    if "peername" not in info:
        try:
            info["peername"] = sock.getpeername()
        except OSError:
            info["peername"] = None
    if isinstance(info["sockname"], (str, bytes)):
        add_credentials(info, sock)
    return info


_CREDENTIALS = struct.Struct("iII")


def add_credentials(info, sock):
    """Who is at the other end of a Unix socket, as the kernel knows: (pid, uid, gid)."""
    try:
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        info["peercred"] = _CREDENTIALS.unpack(found)
    except (OSError, AttributeError, struct.error):
        pass  # no Unix socket after all, or one that is closed


def socket_of_fd(fd):
    """A socket object for a descriptor, which it owns from now on."""
    return socket.socket(fileno=fd)


def closed_socket():
    """What ``get_extra_info('socket')`` wraps when it is first asked after the end."""
    sock = socket.socket()
    sock.close()
    return sock


def transport_repr(transport):
    """asyncio's repr of a socket transport."""
    info = [type(transport).__name__]
    loop = transport._loop
    if loop is None:
        info.append("closed")
    elif transport._closing:
        info.append("closing")
    info.append(f"fd={transport._sock_fd}")
    if loop is not None and not loop.is_closed():
        info.append("read=polling" if transport.is_reading() else "read=idle")
        state = "polling" if transport._is_write_blocked() else "idle"
        info.append(f"write=<{state}, bufsize={transport.get_write_buffer_size()}>")
    return f"<{' '.join(info)}>"


def pipe_extra(pipe, extra):
    """The extra information of a pipe transport."""
    info = dict(extra) if extra else {}
    info["pipe"] = pipe
    return info


def _pipe_repr(transport, is_polling, *more):
    """What asyncio's reprs of pipe transports have in common."""
    info = [type(transport).__name__]
    loop = transport._loop
    if transport._pipe is None:
        info.append("closed")
    elif transport._closing:
        info.append("closing")
    info.append(f"fd={transport._fileno}")
    if transport._pipe is None:
        info.append("closed")
    elif loop is None or loop.is_closed():
        info.append("open")
    else:
        info += ["polling" if is_polling() else "idle", *more]
    return f"<{' '.join(info)}>"


def read_pipe_repr(transport):
    """asyncio's repr of a read pipe transport."""
    return _pipe_repr(transport, transport.is_reading)


def write_pipe_repr(transport):
    """asyncio's repr of a write pipe transport."""
    buffered = f"bufsize={transport.get_write_buffer_size()}"
    return _pipe_repr(transport, transport._is_write_blocked, buffered)


if PYTHON >= (3, 15):

    def write_type_error(name):
        return f"data argument must be a bytes, bytearray, or memoryview object, not {name!r}"

else:

    def write_type_error(name):
        return f"data argument must be a bytes-like object, not {name!r}"


class _Limits:
    """Takes the limits that ``_FlowControlMixin._set_write_buffer_limits`` works out."""

    set = FlowControlMixin._set_write_buffer_limits


def write_buffer_limits(high=None, low=None):
    """``(low, high)`` with asyncio's defaults and its ValueError, as sizes."""
    limits = _Limits()
    limits.set(high=high, low=low)
    return sizes(limits._low_water, limits._high_water)


def sizes(low, high):
    """Limits as numbers of bytes that memory could have."""
    return int(min(low, sys.maxsize)), int(min(high, sys.maxsize))


#: What ``get_extra_info`` of a stream over a plain socket has never anything for.
OTHERS_EXTRA_INFO = frozenset(
    ("sslcontext", "ssl_object", "peercert", "cipher", "compression", "pipe", "subprocess")
)
