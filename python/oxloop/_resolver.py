"""``getaddrinfo`` and ``getnameinfo``: literals at once, names on the loop's own threads.

What the ``socket`` module would do otherwise than the C library goes to it, in the executor, as in
asyncio: unusual arguments, debug mode (which logs lookups), and everything if somebody has put
another function into its place.
"""

import sys

from . import _hooks


class ResolverCalls:
    """Part of :class:`oxloop.EventLoop`: looking names up."""

    async def getaddrinfo(self, host, port, *, family=0, type=0, proto=0, flags=0):
        """The addresses of a host, as ``socket.getaddrinfo``; raises what that does."""
        # What asyncio would call: also when only its view of the module was replaced.
        if _hooks.base_events.socket.getaddrinfo is _hooks.getaddrinfo and not self._debug:
            try:
                found = self._resolve_literal(host, port, family, type, proto, flags)
                query = None if found is not None else _encoded(host, port)
            except (TypeError, OverflowError):
                found = query = None
            if found is not None or query is not None:
                sys.audit("socket.getaddrinfo", host, port, family, type, proto)
            if found is not None:
                return found
            if query is not None:
                asked = self._resolve(*query, family, type, proto, flags)
                return asked if asked.__class__ is list else await self._until_answered(asked)
        return await super().getaddrinfo(
            host, port, family=family, type=type, proto=proto, flags=flags
        )

    async def getnameinfo(self, sockaddr, flags=0):
        """The names of a host and a service, as ``socket.getnameinfo``; raises what that does."""
        usual = _hooks.base_events.socket.getnameinfo is _hooks.getnameinfo
        if usual and _is_usual_name(sockaddr, flags):
            sys.audit("socket.getnameinfo", sockaddr)
            host, port, *scope = sockaddr
            scope = (*scope, 0)[:2] if scope else None
            asked = self._resolve_name(host, port, scope, flags)
            if asked is not None:
                waits = asked[0].__class__ is not str
                return await self._until_answered(asked) if waits else asked
        return await super().getnameinfo(sockaddr, flags)

    async def _until_answered(self, asked):
        future, token = asked
        try:
            return await future
        except BaseException:
            self._forget_lookup(token)
            raise


def _encoded(host, port):
    """``(host, service)`` in bytes, or None if the socket module is to look at them."""
    if type(host) is str:
        # Raises what socket.getaddrinfo() raises for what is no host's name.
        host = host.encode("idna")
    elif host is not None and type(host) is not bytes:
        return None
    if type(port) is int and not 0 <= port <= 0xFFFF:
        # Versions differ in what they make of it.
        return None
    if type(port) is int or type(port) is str:
        port = str(port).encode()
    elif port is not None and type(port) is not bytes:
        return None
    if b"\0" in (host or b"") or b"\0" in (port or b""):
        return None
    return host, port


def _is_usual_name(sockaddr, flags):
    """An address, a port and perhaps flow information and scope, all within their limits."""
    if type(sockaddr) is not tuple or not 2 <= len(sockaddr) <= 4 or type(flags) is not int:
        return False
    if not 0 <= flags <= 0x7FFFFFFF:
        return False
    host, port, *scope = sockaddr
    limits = zip((port, *scope), (0xFFFF, 0xFFFFF, 0xFFFFFFFF), strict=False)
    return type(host) is str and all(type(n) is int and 0 <= n <= limit for n, limit in limits)
