"""``EventLoop``: the native loop over the interpreter's own.

``_oxloop.Loop`` comes first and overrides what runs per callback, per event or per connection.
What runs once per connection, per server or per process is inherited from the asyncio that is
running, through the private hooks that it calls; they are named in :mod:`oxloop._hooks`.
"""

import asyncio
import threading

from . import _hooks, _oxloop
from ._resolver import ResolverCalls
from ._selector import WatchedDescriptors
from ._sendfile import SendfileCalls
from ._servers import Servers
from ._sock import SocketCalls
from ._subprocess import Subprocesses

#: What TLS can be put over natively.
PROTECTABLE = (_oxloop.StreamTransport, _oxloop.SSLTransport)


class EventLoop(
    _oxloop.Loop,
    Servers,
    SocketCalls,
    SendfileCalls,
    ResolverCalls,
    Subprocesses,
    _hooks.SelectorEventLoop,
):
    """An asyncio event loop whose engine is written in Rust.

    It is an ``asyncio.SelectorEventLoop`` by ``isinstance`` and by behaviour. Not thread-safe but
    for :meth:`call_soon_threadsafe` and :func:`asyncio.run_coroutine_threadsafe`.
    """

    # The self-pipe, for signals alone and made when the first is awaited.
    _ssock = None
    _signal_socket = None

    def __init__(self, selector=None):
        """*selector* is accepted for the sake of asyncio's signature and not used."""
        _hooks.SelectorEventLoop.__init__(self, WatchedDescriptors(self))
        self._given_watcher = self.__dict__.get("_watcher")

    def close(self):
        """Close the loop: drop what is scheduled, shut the default executor down without waiting.

        Raises ``RuntimeError`` if the loop is running; closing twice is fine.
        """
        super().close()
        self._drop_all()

    # -- signals -------------------------------------------------------------------------

    @property
    def _csock(self):
        """Where the interpreter writes the numbers of signals. Made on demand."""
        if self._signal_socket is None and not self.is_closed():
            super()._make_self_pipe()
        return self._signal_socket

    @_csock.setter
    def _csock(self, sock):
        self._signal_socket = sock

    def _make_self_pipe(self):
        """Called by the constructor: not yet."""

    def _close_self_pipe(self):
        if self._signal_socket is not None:
            super()._close_self_pipe()

    def _signal_descriptor(self):
        """Where signals may be written while the loop waits; None: not in this thread."""
        if threading.current_thread() is not threading.main_thread():
            return None
        try:
            return self._csock.fileno()
        except OSError:
            # Out of descriptors: signals end the wait by interrupting it, which mostly suffices.
            return None

    # -- transports ----------------------------------------------------------------------

    def _make_ssl_transport(
        self,
        rawsock,
        protocol,
        sslcontext,
        waiter=None,
        *,
        server_side=False,
        server_hostname=None,
        extra=None,
        server=None,
        ssl_handshake_timeout=_hooks.constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout=_hooks.constants.SSL_SHUTDOWN_TIMEOUT,
        context=None,
    ):
        """A native TLS transport; asyncio's, if its protocol was changed by somebody."""
        self._ensure_fd_no_transport(rawsock)
        if type(rawsock) is _hooks.Socket and not _hooks.is_tls_patched():
            return self._make_tls_transport(
                rawsock,
                protocol,
                sslcontext,
                waiter,
                server_side,
                server_hostname,
                ssl_handshake_timeout,
                ssl_shutdown_timeout,
                extra,
                server,
                context,
            )
        ssl_protocol = _hooks.SSLProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        self._make_socket_transport(
            rawsock, ssl_protocol, extra=extra, server=server, context=context
        )
        return ssl_protocol._app_transport

    async def start_tls(
        self,
        transport,
        protocol,
        sslcontext,
        *,
        server_side=False,
        server_hostname=None,
        ssl_handshake_timeout=None,
        ssl_shutdown_timeout=None,
    ):
        """Protect a connection from here on and return the new transport.

        What the peer has sent and *transport* has not delivered is taken for TLS. *transport* may
        be protected already: then there are two layers. Over a transport that is not the loop's
        own, asyncio's implementation is used.

        Returns ``None``, as asyncio does, if *transport* was closed and is about to say so to its
        protocol, which is *protocol* from now on.

        Raises ``TypeError`` if *sslcontext* is no ``ssl.SSLContext`` or *transport* cannot be
        protected, ``ssl.SSLError`` or ``OSError`` if the handshake fails,
        ``ConnectionAbortedError`` if it takes longer than *ssl_handshake_timeout* seconds. Not
        thread-safe.
        """
        if (
            type(transport) not in PROTECTABLE
            or not isinstance(sslcontext, _hooks.SSLContext)
            or _hooks.is_tls_patched()
        ):
            return await super().start_tls(
                transport,
                protocol,
                sslcontext,
                server_side=server_side,
                server_hostname=server_hostname,
                ssl_handshake_timeout=ssl_handshake_timeout,
                ssl_shutdown_timeout=ssl_shutdown_timeout,
            )
        waiter = self.create_future()
        is_about_to_end = transport.is_closing() and transport.get_protocol() is not None
        if is_about_to_end and not self.is_closed():
            transport.set_protocol(LastWord(protocol, waiter))
            return await waiter
        protected = self._protect(
            transport,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
            _hooks.received_before_tls(protocol),
        )
        try:
            await waiter
        except BaseException:
            transport.close()
            # Nothing that refers to the error may stay in its traceback.
            waiter = protected = None
            raise
        return protected


class LastWord(asyncio.Protocol):
    """Between ``start_tls()`` and a transport that has only its end to tell."""

    def __init__(self, protocol, waiter):
        self.protocol = protocol
        self.waiter = waiter

    def connection_lost(self, exc):
        try:
            self.protocol.connection_lost(exc)
        finally:
            if exc is None:
                _hooks.set_result_unless_cancelled(self.waiter, None)
            elif not self.waiter.done():
                self.waiter.set_exception(exc)
