"""Every private name of CPython that oxloop uses, named once.

asyncio keeps the right to change them with any release. Each is looked up here, with its
difference between versions, and held by a test in ``tests/test_hooks.py``; the extension module
takes what it needs from here as well. (The slots that native handles and transports fill are named
where they are filled, in ``handle/layout.rs`` and ``transport/types.rs``.)
"""

import asyncio
import errno
import inspect
import io
import os
import selectors
import socket
import struct
import sys
import threading
import warnings
from asyncio import (
    Future,
    Handle,
    SendfileNotAvailableError,
    Task,
    base_events,
    base_subprocess,
    constants,
    events,
    format_helpers,
    futures,
    selector_events,
    sslproto,
    streams,
    tasks,
    transports,
    trsock,
    unix_events,
)

PYTHON = sys.version_info[:2]

# What the extension module derives from, or calls by its module's name.
BufferedProtocol = asyncio.BufferedProtocol
TimerHandle = asyncio.TimerHandle
StreamReaderProtocol = asyncio.StreamReaderProtocol
SSLProtocol = sslproto.SSLProtocol
BaseSubprocessTransport = base_subprocess.BaseSubprocessTransport
TASKS = tasks
FUTURES = futures
SelectorEventLoop = asyncio.SelectorEventLoop
Socket = socket.socket
FlowControlMixin = transports._FlowControlMixin
ReadTransport = transports.ReadTransport
set_result_unless_cancelled = futures._set_result_unless_cancelled
transport_socket = trsock.TransportSocket
strerror = os.strerror
fsdecode = os.fsdecode
audit = sys.audit
base_create_task = base_events.BaseEventLoop.create_task
original_handle_run = Handle._run

#: 3.14: handles of call_soon_threadsafe can be cancelled from another thread while they run.
ThreadSafeHandle = getattr(events, "_ThreadSafeHandle", None)
#: 3.13: Server keeps its transports, before it only counted them.
SERVER_ATTACH_TAKES_TRANSPORT = (
    "transport" in inspect.signature(base_events.Server._attach).parameters
)
#: 3.15: every connection of a server runs in a copy of the server's context.
SERVER_HAS_CONTEXT = (
    "context" in inspect.signature(SelectorEventLoop._accept_connection2).parameters
)

#: 3.13.3: create_task hands its keywords to the task factory, and to Task.
FACTORIES_TAKE_KEYWORDS = "kwargs" in inspect.signature(base_create_task).parameters
#: 3.12: makes ``Task(coro, loop=loop, eager_start=True)``.
EAGER_TASK_FACTORY = getattr(tasks, "eager_task_factory", None)

STREAM_TRANSPORT_CONSTANTS = {
    "__module__": "oxloop",
    "__doc__": "A connected stream socket: an asyncio.Transport with its data path in Rust.",
    "_start_tls_compatible": True,
    "_sendfile_compatible": constants._SendfileMode.TRY_NATIVE,
    "max_size": 256 * 1024,
    # None once the connection is lost, in asyncio; its own tests look at it.
    "_read_ready_cb": NotImplemented,
}

#: 3.13: a waiting datagram counts for more than its bytes (3.13.0 forgets to take that off again).
DATAGRAM_HEADER_SIZE = 8 if PYTHON >= (3, 13) else 0

DATAGRAM_TRANSPORT_CONSTANTS = {
    "__module__": "oxloop",
    "__doc__": "A datagram endpoint: an asyncio.DatagramTransport with its data path in Rust.",
    "max_size": 256 * 1024,
    "_header_size": DATAGRAM_HEADER_SIZE,
}


class DatagramBase(FlowControlMixin, asyncio.DatagramTransport):
    """What asyncio's datagram transport is, beside the code."""

    __slots__ = ()


READ_PIPE_CONSTANTS = {
    "__module__": "oxloop",
    "__doc__": "The reading end of a pipe: an asyncio.ReadTransport with its data path in Rust.",
    "max_size": 256 * 1024,
}

WRITE_PIPE_CONSTANTS = {
    "__module__": "oxloop",
    "__doc__": "The writing end of a pipe: an asyncio.WriteTransport with its data path in Rust.",
}

if PYTHON < (3, 14):
    DefaultEventLoopPolicy = asyncio.DefaultEventLoopPolicy
    set_event_loop_policy = asyncio.set_event_loop_policy
elif PYTHON < (3, 16):
    # The public names warn; these are what they lead to.
    DefaultEventLoopPolicy = unix_events._DefaultEventLoopPolicy
    set_event_loop_policy = events._set_event_loop_policy


# -- C Tasks ---------------------------------------------------------------------------------


class _Recorder:
    """Just enough of a loop to see what a Task passes to ``call_soon``."""

    def __init__(self):
        self.callbacks = []

    def call_soon(self, callback, *args, context=None):
        self.callbacks.append(callback)

    def get_debug(self):
        return False


def _task_callbacks():
    """The type of a C Task's step, and the C function that wakes one.

    ``call_soon`` gets them from ``_asyncio``, which drops the handle it returns, so none has to be
    made. ``(None, None)`` with a Task that is not C's or a release that does it otherwise.
    """
    recorder = _Recorder()
    future = Future(loop=recorder)

    async def wait():
        await future

    coro = wait()
    task = Task(coro, loop=recorder)
    task._log_destroy_pending = False
    # Since 3.14 a Task is stepped by its running loop alone.
    events._set_running_loop(recorder)
    try:
        step = recorder.callbacks[0]
        step()
        wakeup = future._callbacks[0][0]
        builtin = type(len)
        if type(step).__module__ in ("builtins", "_asyncio") and type(wakeup) is builtin:
            return type(step), wakeup
    except Exception:
        return None, None
    finally:
        events._set_running_loop(None)
        coro.close()
    return None, None


if events._get_running_loop() is None:
    TASK_STEP_TYPE, TASK_WAKEUP = _task_callbacks()
else:
    # Imported inside a Task, which cannot step another: done without, a little slower.
    TASK_STEP_TYPE = TASK_WAKEUP = None


# -- running -----------------------------------------------------------------------------------


def begin_run(loop):
    """What ``run_forever`` does before its first turn.

    Refused, it changes nothing; failed halfway, it is undone.
    """
    loop._check_closed()
    loop._check_running()
    try:
        _set_up_run(loop)
    except BaseException:
        end_run(loop)
        raise


if PYTHON >= (3, 13):
    _set_up_run = base_events.BaseEventLoop._run_forever_setup
    #: What ``run_forever`` does after its last turn, also if the run failed.
    end_run = base_events.BaseEventLoop._run_forever_cleanup
else:

    def _set_up_run(loop):
        loop._old_agen_hooks = sys.get_asyncgen_hooks()
        loop._set_coroutine_origin_tracking(loop._debug)
        loop._thread_id = threading.get_ident()
        sys.set_asyncgen_hooks(loop._asyncgen_firstiter_hook, loop._asyncgen_finalizer_hook)
        events._set_running_loop(loop)

    def end_run(loop):
        """What ``run_forever`` does after its last turn, also if the run failed."""
        loop._stopping = False
        loop._thread_id = None
        events._set_running_loop(None)
        loop._set_coroutine_origin_tracking(False)
        if getattr(loop, "_old_agen_hooks", None) is not None:
            sys.set_asyncgen_hooks(*loop._old_agen_hooks)
            loop._old_agen_hooks = None


# -- running callbacks -----------------------------------------------------------------------


def is_handle_run_patched():
    """Whether somebody (a profiler, logfire) has replaced ``asyncio.Handle._run``."""
    return Handle._run is not original_handle_run


def own_methods(loop):
    """Whether ``time``, ``call_at`` and ``call_soon`` are oxloop's: not a subclass', not assigned.

    The native code goes around those that are.
    """
    from . import _oxloop

    kind, namespace, native = type(loop), loop.__dict__, _oxloop.Loop
    return (
        kind.time is native.time,  # an assigned one is looked for again and again
        kind.call_at is native.call_at and "call_at" not in namespace,
        kind.call_soon is native.call_soon and "call_soon" not in namespace,
    )


def extract_stack():
    """The stack of whoever called the native method that calls this."""
    return format_helpers.extract_stack(sys._getframe(1))


if "debug" in inspect.signature(format_helpers._format_callback_source).parameters:

    def _format_callback(handle, loop):
        return format_helpers._format_callback_source(
            handle._callback, handle._args, debug=loop.get_debug()
        )

else:

    def _format_callback(handle, loop):
        return format_helpers._format_callback_source(handle._callback, handle._args)


def report_callback_error(loop, handle, exc):
    """What ``Handle._run`` does with an exception."""
    context = {
        "message": f"Exception in callback {_format_callback(handle, loop)}",
        "exception": exc,
        "handle": handle,
    }
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    loop.call_exception_handler(context)


def run_in_debug_mode(loop, handle):
    """What ``_run_once`` does with a handle: the loop knows it, slow ones are logged."""
    if handle._cancelled:
        return
    if not loop._debug:
        # Only here because Handle._run is not asyncio's any more.
        Handle._run(handle)
        return
    try:
        loop._current_handle = handle
        start = loop.time()
        handle._run()
        duration = loop.time() - start
        if duration >= loop.slow_callback_duration:
            base_events.logger.warning(
                "Executing %s took %.3f seconds", base_events._format_handle(handle), duration
            )
    finally:
        loop._current_handle = None
        # A traceback of the callback keeps this frame, and would keep the handle with it.
        handle = None


# -- descriptors -----------------------------------------------------------------------------

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


# -- serving ---------------------------------------------------------------------------------


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


# -- transports ------------------------------------------------------------------------------


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


def report_connection_made_error(transport, exc):
    """``connection_made`` failed: reported as the callback that it is in asyncio."""
    _report_callback_error(transport, "connection_made", (transport,), exc)


def report_data_received_error(transport, exc):
    """``data_received`` of a pipe's protocol failed; in asyncio it is part of a callback."""
    _report_callback_error(transport, "data_received", (), exc)


def _report_callback_error(transport, name, args, exc):
    protocol = transport.get_protocol()
    loop = transport._loop
    if loop is None:
        return
    callback = getattr(protocol, name, protocol)
    source = format_helpers._format_callback_source(callback, args)
    loop.call_exception_handler(
        {
            "message": f"Exception in callback {source}",
            "exception": exc,
            "transport": transport,
            "protocol": protocol,
        }
    )


def report_protocol_error(transport, name, exc):
    """A callback failed of whose failures the transport takes no note, as in asyncio."""
    protocol = transport.get_protocol()
    callback = getattr(protocol, name, protocol)
    source = format_helpers._format_callback_source(callback, ())
    transport._loop.call_exception_handler(
        {
            "message": f"Exception in callback {source}",
            "exception": exc,
            "transport": transport,
            "protocol": protocol,
        }
    )


def report_fatal_error(transport, exc, message):
    """What ``_fatal_error`` says before it closes."""
    loop = transport._loop
    if loop is None:
        return
    if isinstance(exc, OSError):
        if loop.get_debug():
            selector_events.logger.debug("%r: %s", transport, message, exc_info=exc)
    else:
        loop.call_exception_handler(
            {
                "message": message,
                "exception": exc,
                "transport": transport,
                "protocol": transport.get_protocol(),
            }
        )


def report_read_pipe_error(transport, exc, message):
    """What ``_fatal_error`` of a read pipe says: EIO is how a terminal ends."""
    if isinstance(exc, OSError) and exc.errno != errno.EIO:
        loop = transport._loop
        if loop is not None:
            loop.call_exception_handler(
                {
                    "message": message,
                    "exception": exc,
                    "transport": transport,
                    "protocol": transport.get_protocol(),
                }
            )
    else:
        report_fatal_error(transport, exc, message)


def report_flow_error(transport, what, exc):
    """``pause_writing`` or ``resume_writing`` failed."""
    transport._loop.call_exception_handler(
        {
            "message": f"protocol.{what}() failed",
            "exception": exc,
            "transport": transport,
            "protocol": transport.get_protocol(),
        }
    )


def log_transport(transport, what):
    selector_events.logger.debug("%r %s", transport, what)


def log_closed_by_peer(transport):
    unix_events.logger.info("%r was closed by peer", transport)


def refuse_pipe_data(data):
    raise AssertionError(repr(data))


def warn_lost_pipe_write():
    unix_events.logger.warning("pipe closed by peer or os.write(pipe, data) raised exception.")


def warn_lost_write():
    selector_events.logger.warning("socket.send() raised exception.")


def warn_unclosed(transport):
    warnings.warn(f"unclosed transport {transport!r}", ResourceWarning, source=transport)


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
    return _sizes(limits._low_water, limits._high_water)


def _sizes(low, high):
    """Limits as numbers of bytes that memory could have."""
    return int(min(low, sys.maxsize)), int(min(high, sys.maxsize))


# -- TLS ------------------------------------------------------------------------------------

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


#: What ``get_extra_info`` of a stream over a plain socket has never anything for.
OTHERS_EXTRA_INFO = frozenset(
    ("sslcontext", "ssl_object", "peercert", "cipher", "compression", "pipe", "subprocess")
)


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
        raise RuntimeError("OXLOOP_TLS=direct: this session cannot go to OpenSSL directly")


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
    return _sizes(low, high)


def tls_read_limits(high=None, low=None):
    high, low = sslproto.add_flowcontrol_defaults(
        high, low, constants.FLOW_CONTROL_HIGH_WATER_SSL_READ
    )
    return _sizes(low, high)


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


# -- child processes -------------------------------------------------------------------------

if PYTHON < (3, 14):
    # Watchers that only wait for the children they are told of: what the loop does as well.
    _PLAIN_WATCHERS = (unix_events.ThreadedChildWatcher, unix_events.PidfdChildWatcher)

    def has_own_child_watcher(loop):
        """Whether the program has chosen a child watcher that has to do the watching.

        FastChildWatcher, for one, reaps every child of the process: it alone knows their ends.
        """
        watcher = getattr(events._event_loop_policy, "_watcher", None)
        return watcher is not None and type(watcher) not in _PLAIN_WATCHERS

else:

    def has_own_child_watcher(loop):
        """Whether somebody has given the loop another watcher than asyncio made for it."""
        return loop._watcher is not loop._given_watcher


def warn_unknown_child(pid):
    unix_events.logger.warning(
        "child process pid %d exit status already read:  will report returncode 255", pid
    )


def warn_closed_loop(loop, pid):
    unix_events.logger.warning("Loop %r that handles pid %r is closed", loop, pid)


def report_child_error(loop, transport, exc):
    """Telling a transport of its child's end failed."""
    source = format_helpers._format_callback_source(transport._process_exited, ())
    loop.call_exception_handler(
        {
            "message": f"Exception in callback {source}",
            "exception": exc,
            "transport": transport,
            "protocol": transport.get_protocol(),
        }
    )


# -- asyncio's streams -------------------------------------------------------------------------

STREAM_CLASSES = (streams.StreamReader, streams.StreamReaderProtocol, streams.StreamWriter)

#: What a StreamReader keeps in its dict: all that its methods look at.
READER_STATE = {
    "_buffer",
    "_eof",
    "_exception",
    "_limit",
    "_loop",
    "_paused",
    "_transport",
    "_waiter",
}
#: Lazily added to a class by looking at it.
_NOT_ASSIGNED = {"__annotations__", "__annotations_cache__", "__abstractmethods__"}


def _namespaces(kind):
    return {base: dict(vars(base)) for base in kind.__mro__[:-1]}


_STOCK_NAMESPACES = {kind: _namespaces(kind) for kind in STREAM_CLASSES}


class _FutureMaker(_Recorder):
    def create_future(self):
        return Future(loop=self)


def fresh_attributes(kind):
    """How many attributes a new reader or protocol has, a server's ``_strong_reader`` aside."""
    loop = _FutureMaker()
    reader = streams.StreamReader(loop=loop)
    if kind is streams.StreamReader:
        return len(vars(reader))
    return len(vars(streams.StreamReaderProtocol(reader, loop=loop)))


def are_streams_known():
    """Whether asyncio's streams are CPython's own, and of a shape that can be made native."""
    for namespaces in _STOCK_NAMESPACES.values():
        for base, names in namespaces.items():
            if base.__module__.partition(".")[0] != "asyncio":
                return False
            for value in names.values():
                if inspect.isfunction(value) and value.__module__ != base.__module__:
                    return False
    return vars(streams.StreamReader(loop=_Recorder())).keys() == READER_STATE


def is_stream_class_stock(kind):
    """Whether nobody has replaced or added anything of that class since oxloop was imported."""
    for base, expected in _STOCK_NAMESPACES[kind].items():
        names = vars(base)
        if any(names.get(name) is not value for name, value in expected.items()):
            return False
        if names.keys() - expected.keys() - _NOT_ASSIGNED:
            return False
    return True


#: What the native part of such an object takes for granted once it has looked at it.
_STREAM_STATE = {
    streams.StreamReader: {"_loop"},
    streams.StreamReaderProtocol: {"_loop", "_stream_reader_wr"},
    streams.StreamWriter: {"_loop", "_protocol", "_reader", "_transport"},
}


def stream_overrides(kind):
    """The names of methods, which an instance may not have, and those that may not be assigned."""
    names = {name for base in kind.__mro__[:-1] for name in vars(base)}
    methods = names - {"_source_traceback", "__doc__"}
    return methods, methods | _STREAM_STATE[kind] | {"__class__"}


# -- names for the Python half ---------------------------------------------------------------

check_ssl_socket = base_events._check_ssl_socket


# -- sockets ---------------------------------------------------------------------------------

_socket_base = socket.socket.__base__
#: Plain numbers, without the enum that the properties of ``socket.socket`` make of them.
socket_family = _socket_base.family.__get__
socket_type = _socket_base.type.__get__
socket_connect = _socket_base.connect
socket_sendto = _socket_base.sendto


# -- names -----------------------------------------------------------------------------------

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


# -- sending files ---------------------------------------------------------------------------


def regular_file(file):
    """``(fd, size)`` of what ``os.sendfile`` can send; asyncio's error if *file* is not that."""
    try:
        fd = file.fileno()
    except (AttributeError, io.UnsupportedOperation):
        raise SendfileNotAvailableError("not a regular file") from None
    try:
        return fd, os.fstat(fd).st_size
    except OSError:
        raise SendfileNotAvailableError("not a regular file") from None


def sendfile_error(exc, sent):
    """What asyncio raises for an error of ``os.sendfile``, with *sent* bytes sent before."""
    if not sent:
        # Perhaps no file that the kernel can send: the caller may fall back to reading it.
        return SendfileNotAvailableError("os.sendfile call failed")
    if exc.errno == errno.ENOTCONN:
        error = ConnectionError("socket is not connected", errno.ENOTCONN)
        error.__cause__ = exc
        return error
    return exc
