"""TLS: sessions, their errors and messages, and the view that programs know."""

import os
from asyncio import Future, constants, sslproto

from .classes import StreamReaderProtocol
from .transports import sizes

SSLProtocol = sslproto.SSLProtocol


ssl = sslproto.ssl

if ssl is not None:
    SSLContext = ssl.SSLContext
    SSLObject = ssl.SSLObject
    #: A session needs more from its peer.
    TLS_AGAIN = (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLSyscallError)
    TLS_ENDED = (ssl.SSLZeroReturnError,)

    class TruncatedError(ssl.SSLEOFError, ConnectionResetError):
        """The connection ended and the peer had not said goodbye: somebody may have cut it.

        An ``ssl.SSLEOFError``; and a ``ConnectionError``, as programs expect of a peer that leaves.
        """

        __module__ = "oxloop"

else:
    # An interpreter without ssl: nobody can get as far as to use these.
    SSLContext = SSLObject = ()
    TLS_AGAIN = TLS_ENDED = ()
    TruncatedError = ConnectionResetError

SSL_TRANSPORT_CONSTANTS = {
    "__module__": "oxloop",
    "__doc__": "A connection protected by TLS: an asyncio.Transport over a StreamTransport.",
    "_start_tls_compatible": True,
    "_sendfile_compatible": constants._SendfileMode.FALLBACK,
}

_SSL_PROTOCOL_METHODS = dict(vars(SSLProtocol))


def is_tls_patched():
    """Whether somebody has replaced asyncio's ``SSLProtocol`` or some of its methods."""
    return sslproto.SSLProtocol is not SSLProtocol or vars(SSLProtocol) != _SSL_PROTOCOL_METHODS


def _positive(name, seconds, default):
    if seconds is None:
        return default
    # Written so that NaN is none: there is no such moment.
    if not seconds > 0:
        raise ValueError(f"{name} should be a positive number, got {seconds}")
    return seconds


def tls_session(sslcontext, server_side, server_hostname, handshake_timeout, shutdown_timeout):
    """What ``SSLProtocol.__init__`` does: its checks, and a session that waits for its peer."""
    if ssl is None:
        raise RuntimeError("stdlib ssl module not available")
    handshake_timeout = _positive(
        "ssl_handshake_timeout", handshake_timeout, constants.SSL_HANDSHAKE_TIMEOUT
    )
    shutdown_timeout = _positive(
        "ssl_shutdown_timeout", shutdown_timeout, constants.SSL_SHUTDOWN_TIMEOUT
    )
    # True asks for the default, which the caller has not made.
    if not sslcontext or sslcontext is True:
        sslcontext = sslproto._create_transport_context(server_side, server_hostname)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hostname = server_hostname if server_hostname and not server_side else None
    session = sslcontext.wrap_bio(
        incoming, outgoing, server_side=server_side, server_hostname=hostname
    )
    return sslcontext, session, incoming, outgoing, handshake_timeout, shutdown_timeout


#: Which way TLS sessions go: "object" (through ``ssl.SSLObject``), "direct" (to OpenSSL, an error
#: if that cannot be), or empty: directly where that can be.
TLS_SESSION = os.environ.get("OXLOOP_TLS", "")


def tls_library():
    """The file that has brought OpenSSL into the process, and the type of its C objects."""
    import _ssl

    return getattr(_ssl, "__file__", None), _ssl._SSLSocket


def may_go_direct(session):
    """Whether nothing of an SSLObject is missed if OpenSSL is called without it.

    What a message callback raises is kept by ``_ssl``, for the end of its own call.
    """
    return (
        TLS_SESSION != "object"
        and type(session) is SSLObject
        and getattr(session.context, "_msg_callback", None) is None
    )


def check_tls_not_forced():
    if TLS_SESSION == "direct":
        raise RuntimeError(
            "OXLOOP_TLS=direct: this session cannot go to OpenSSL directly: unset the variable, "
            "or ask `python -m oxloop info` why"
        )


def tls_unknown_error():
    return ssl.SSLError(ssl.SSL_ERROR_SSL, "A failure occurred in the SSL library")


def tls_info(sslcontext, session):
    """The extra information of a TLS connection; *session* is None during the handshake."""
    info = {"sslcontext": sslcontext}
    if session is not None:
        info.update(
            peercert=session.getpeercert(),
            cipher=session.cipher(),
            compression=session.compression(),
            ssl_object=session,
        )
    return info


def tls_handshake_message(exc):
    if isinstance(exc, ssl.CertificateError):
        return "SSL handshake failed on verifying the certificate"
    return "SSL handshake failed"


def tls_handshake_timeout_message(seconds):
    return f"SSL handshake is taking longer than {seconds} seconds: aborting the connection"


def tls_forgives_truncation(sslcontext):
    """Whether an end without a goodbye is a regular one, by the context's own word."""
    options = getattr(sslcontext, "options", 0)
    return bool(options & getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0))


def tls_truncation():
    """The error of a connection that ended without a goodbye; as ``SSLObject.read`` raises it."""
    reason = "UNEXPECTED_EOF_WHILE_READING"
    text = f"[SSL: {reason}] EOF occurred in violation of protocol"
    exc = TruncatedError(ssl.SSL_ERROR_EOF, text)
    exc.library, exc.reason = "SSL", reason
    return exc


def received_before_tls(protocol):
    """Takes what a stream has received and nobody has read: it was not protected.

    Read after ``start_tls()`` it would pass for data that was. It goes to the TLS session: on a
    server that may be the client's first message, anything else fails the handshake.
    """
    if not isinstance(protocol, StreamReaderProtocol):
        return b""
    reader = getattr(protocol, "_stream_reader", None)
    buffer = getattr(reader, "_buffer", None)
    if not buffer:
        return b""
    received = bytes(buffer)
    buffer.clear()
    return received


def tell_stream_of_truncation(protocol, exc):
    """Let ``StreamWriter.wait_closed()`` raise *exc* if it says that the connection was cut.

    ``StreamReader.set_exception()`` would hide the data that was not read yet. True if *exc* was
    told like that; the stream then ends for its reader.
    """
    if not isinstance(exc, TruncatedError):
        return False
    closed = getattr(protocol, "_closed", None)
    if not isinstance(closed, Future):
        return False
    if not closed.done():
        closed.set_exception(exc)
    return True


def tls_write_limits(high=None, low=None):
    """``(low, high)`` with asyncio's defaults and its ValueError."""
    high, low = sslproto.add_flowcontrol_defaults(
        high, low, constants.FLOW_CONTROL_HIGH_WATER_SSL_WRITE
    )
    return sizes(low, high)


def tls_read_limits(high=None, low=None):
    high, low = sslproto.add_flowcontrol_defaults(
        high, low, constants.FLOW_CONTROL_HIGH_WATER_SSL_READ
    )
    return sizes(low, high)


def report_tls_accept_error(loop, exc, transport, protocol):
    """The handshake of a server's connection failed: asyncio says so in debug mode only."""
    loop.call_exception_handler(
        {
            "message": "Error on transport creation for incoming connection",
            "exception": exc,
            "transport": transport,
            "protocol": protocol,
        }
    )


def log_tls_handshake(transport, seconds):
    sslproto.logger.debug("%r: SSL handshake took %.1f ms", transport, seconds * 1e3)


def warn_tls_keep_open():
    sslproto.logger.warning("returning true from eof_received() has no effect when using ssl")


def warn_lost_tls_write():
    sslproto.logger.warning("SSL connection is closed")


class SSLProtocolView:
    """A TLS transport under the names that programs know from asyncio's ``SSLProtocol``."""

    def __init__(self, transport):
        self._app_transport = transport

    _transport = property(lambda self: self._app_transport._transport)
    _app_protocol = property(lambda self: self._app_transport.get_protocol())
    _loop = property(lambda self: self._app_transport._loop)
    _sslobj = property(lambda self: self._app_transport._ssl_object)
    _sslcontext = property(lambda self: self._app_transport._sslcontext)
    _server_side = property(lambda self: self._app_transport._server_side)
    _server_hostname = property(lambda self: self._sslobj.server_hostname)
    _app_reading_paused = property(lambda self: not self._app_transport.is_reading())

    def _get_extra_info(self, name, default=None):
        return self._app_transport.get_extra_info(name, default)

    def _get_app_transport(self):
        return self._app_transport

    def _abort(self, exc=None):
        self._app_transport._force_close(exc)

    def _start_shutdown(self):
        self._app_transport.close()

    def pause_writing(self):
        self._app_transport._set_blocked(True)

    def resume_writing(self):
        self._app_transport._set_blocked(False)
