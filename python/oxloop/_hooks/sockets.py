"""Sockets without Python's detours, and lookups of names."""

import socket

_socket_base = socket.socket.__base__
#: Plain numbers, without the enum that the properties of ``socket.socket`` make of them.
socket_family = _socket_base.family.__get__
socket_type = _socket_base.type.__get__
socket_connect = _socket_base.connect
socket_sendto = _socket_base.sendto


gaierror = socket.gaierror
SOCKET_ENUMS = [socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM]


def _is_original(name):
    """Whether *name* of ``socket`` was its own when oxloop was imported."""
    return getattr(getattr(socket, name), "__module__", None) in ("socket", "_socket")


#: What asyncio would call, to be compared with what it would call now: None if that was somebody
#: else's from the start.
getaddrinfo = socket.getaddrinfo if _is_original("getaddrinfo") else None
getnameinfo = socket.getnameinfo if _is_original("getnameinfo") else None


def addrinfo(entries):
    """What ``socket.getaddrinfo`` makes of the entries that its C function returns."""
    family, kind = socket.AddressFamily, socket.SocketKind
    convert = socket._intenum_converter
    return [(convert(one[0], family), convert(one[1], kind), *one[2:]) for one in entries]
