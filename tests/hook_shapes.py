"""The shapes of CPython's private hooks that oxloop relies on, per version; see test_hooks.py.

``SIGNATURES`` maps a name in ``asyncio`` (``Loop`` is ``SelectorEventLoop``) to what has to be
looked at if it changed, and to the parameters since each version: ``*name`` is keyword-only,
``name*`` collects the rest. ``None``: there is no such name. Versions that are not here yet are
held to the newest shape.
"""

import inspect
import re
import selectors
import sys
from asyncio import (
    SelectorEventLoop,
    base_events,
    base_subprocess,
    events,
    format_helpers,
    futures,
    selector_events,
    sslproto,
    subprocess,
    transports,
    trsock,
    unix_events,
)
from contextlib import closing

import pytest

import oxloop

PYTHON = sys.version_info[:2]
OLDEST = (3, 11)
LOOP = "python/oxloop/_loop.py"
HOOKS = "python/oxloop/_hooks"
EVENT_LOOP = "crates/py/src/event_loop/mod.rs"
ACCEPT = "crates/py/src/event_loop/accept.rs"
SCHEDULE = "crates/py/src/event_loop/schedule.rs"
WATCH = "crates/py/src/event_loop/watch.rs"
SOCK = "python/oxloop/_sock.py"
RESOLVER = "python/oxloop/_resolver.py"
SENDFILE = "python/oxloop/_sendfile.py"
SUBPROCESS = "python/oxloop/_subprocess.py"
CHILD = "crates/py/src/transport/child.rs"
LAYOUT = "crates/py/src/handle/layout.rs"
SESSION = "crates/py/src/transport/tls/object.rs"
TRANSPORT = "crates/py/src/transport/types.rs"
DATAGRAM = "crates/py/src/transport/datagram/open.rs"
INHERITED = "asyncio's own, borrowed; it runs on our _add_reader and its kin: " + WATCH

_SERVE = "self protocol_factory sock sslcontext server backlog"
_ACCEPT2 = "self protocol_factory conn extra sslcontext server"
_TIMEOUTS = "ssl_handshake_timeout ssl_shutdown_timeout"
_SOCKET = "self sock protocol waiter *extra *server"
_TLS = (
    "self rawsock protocol sslcontext waiter *server_side *server_hostname *extra *server"
    " *ssl_handshake_timeout *ssl_shutdown_timeout"
)
_HANDLE = "self callback args loop context"


def _always(shape):
    return {OLDEST: shape}


SIGNATURES = {
    # What oxloop overrides, and what calls it by position.
    "Loop.__init__": (LOOP, _always("self selector")),
    "Loop._make_socket_transport": (
        EVENT_LOOP,
        {OLDEST: _SOCKET, (3, 15): _SOCKET + " *context"},
    ),
    "Loop._make_ssl_transport": (LOOP, {OLDEST: _TLS, (3, 15): _TLS + " *context"}),
    "Loop._start_serving": (
        EVENT_LOOP,
        {OLDEST: f"{_SERVE} {_TIMEOUTS}", (3, 15): f"{_SERVE} {_TIMEOUTS} context"},
    ),
    "Loop.getaddrinfo": (RESOLVER, _always("self host port *family *type *proto *flags")),
    "Loop.getnameinfo": (RESOLVER, _always("self sockaddr flags")),
    "Loop._sendfile_native": (SENDFILE, _always("self transp file offset count")),
    "Loop._sock_sendfile_native": (SENDFILE, _always("self sock file offset count")),
    "Loop._add_reader": (
        WATCH,
        {OLDEST: "self fd callback args*", (3, 15): "self fd callback args* *context"},
    ),
    "Loop._add_writer": (
        WATCH,
        {OLDEST: "self fd callback args*", (3, 15): "self fd callback args* *context"},
    ),
    "Loop._remove_reader": (WATCH, _always("self fd")),
    "Loop._remove_writer": (WATCH, _always("self fd")),
    "Loop._ensure_fd_no_transport": (WATCH, _always("self fd")),
    "Loop._add_callback": (SCHEDULE, _always("self handle")),
    "Loop._add_callback_signalsafe": (SCHEDULE, _always("self handle")),
    "Loop._timer_handle_cancelled": (SCHEDULE, _always("self handle")),
    "Loop._run_once": (EVENT_LOOP, _always("self")),
    "Loop._write_to_self": (EVENT_LOOP, _always("self")),
    "Loop._make_self_pipe": (LOOP, _always("self")),
    "Loop._close_self_pipe": (LOOP, _always("self")),
    "Loop.call_soon": (SCHEDULE, _always("self callback args* *context")),
    "Loop.call_soon_threadsafe": (SCHEDULE, _always("self callback args* *context")),
    "Loop.call_later": (SCHEDULE, _always("self delay callback args* *context")),
    "Loop.call_at": (SCHEDULE, _always("self when callback args* *context")),
    "Loop.sock_recv": (SOCK, _always("self sock n")),
    "Loop.sock_recv_into": (SOCK, _always("self sock buf")),
    "Loop.sock_sendall": (SOCK, _always("self sock data")),
    "Loop.sock_recvfrom": (SOCK, _always("self sock bufsize")),
    "Loop.sock_recvfrom_into": (SOCK, _always("self sock buf nbytes")),
    "Loop.sock_sendto": (SOCK, _always("self sock data address")),
    "Loop.sock_connect": (SOCK, _always("self sock address")),
    "Loop.sock_accept": (SOCK, _always("self sock")),
    # What oxloop calls, or leaves to the base class to be called.
    "Loop._accept_connection2": (
        HOOKS + ", accept_tls",
        {OLDEST: f"{_ACCEPT2} {_TIMEOUTS}", (3, 15): f"{_ACCEPT2} {_TIMEOUTS} context"},
    ),
    "Loop._stop_serving": (ACCEPT, _always("self sock")),
    "Loop._check_thread": (SCHEDULE, _always("self")),
    "Loop._check_callback": (SCHEDULE, _always("self callback method")),
    "Loop._check_closed": (EVENT_LOOP, _always("self")),
    "Loop._process_self_data": (LOOP, _always("self data")),
    "Loop._read_from_self": (LOOP, _always("self")),
    "Loop._handle_signal": (LOOP, _always("self sig")),
    "Loop._make_datagram_transport": (
        EVENT_LOOP,
        _always("self sock protocol address waiter extra"),
    ),
    "Loop._make_read_pipe_transport": (EVENT_LOOP, _always("self pipe protocol waiter extra")),
    "Loop._make_write_pipe_transport": (EVENT_LOOP, _always("self pipe protocol waiter extra")),
    "Loop._child_watcher_callback": (SUBPROCESS, _always("self pid returncode transp")),
    "base_subprocess.BaseSubprocessTransport.__init__": (
        SUBPROCESS,
        _always("self loop protocol args shell stdin stdout stderr bufsize waiter extra kwargs**"),
    ),
    "base_subprocess.BaseSubprocessTransport._start": (
        SUBPROCESS,
        _always("self args shell stdin stdout stderr bufsize kwargs**"),
    ),
    "base_subprocess.BaseSubprocessTransport._pipe_data_received": (
        CHILD,
        _always("self fd data"),
    ),
    "base_subprocess.BaseSubprocessTransport._call": (CHILD, _always("self cb data*")),
    "base_subprocess.ReadSubprocessPipeProto.data_received": (CHILD, _always("self data")),
    "subprocess.SubprocessStreamProtocol.pipe_data_received": (CHILD, _always("self fd data")),
    "base_subprocess.BaseSubprocessTransport._process_exited": (
        SUBPROCESS,
        _always("self returncode"),
    ),
    "base_subprocess.BaseSubprocessTransport._wait": (SUBPROCESS, _always("self")),
    "Loop._make_subprocess_transport": (
        SUBPROCESS,
        _always("self protocol args shell stdin stdout stderr bufsize extra kwargs**"),
    ),
    "base_events.Server._attach": (
        "crates/py/src/transport/open.rs",
        {OLDEST: "self", (3, 13): "self transport"},
    ),
    "base_events.Server._detach": (
        "crates/py/src/transport/close.rs",
        {OLDEST: "self", (3, 13): "self transport"},
    ),
    "base_events._check_ssl_socket": (SOCK, _always("sock")),
    "base_events._format_handle": (HOOKS + ", run_in_debug_mode", _always("handle")),
    "sslproto.SSLProtocol.__init__": (
        LOOP + ", _make_ssl_transport",
        _always(
            "self loop app_protocol sslcontext waiter server_side server_hostname"
            " call_connection_made ssl_handshake_timeout ssl_shutdown_timeout"
        ),
    ),
    "sslproto._create_transport_context": (
        HOOKS + ", tls_session",
        _always("server_side server_hostname"),
    ),
    "sslproto.add_flowcontrol_defaults": (
        HOOKS + ", tls_write_limits",
        _always("high low kb"),
    ),
    "format_helpers._format_callback_source": (
        HOOKS + ", _format_callback",
        {OLDEST: "func args", (3, 13): "func args *debug"},
    ),
    "format_helpers.extract_stack": (HOOKS + ", extract_stack", _always("f limit")),
    "futures._set_result_unless_cancelled": ("crates/py/src/hooks.rs", _always("fut result")),
    "trsock.TransportSocket.__init__": (HOOKS + ", transport_socket", _always("self sock")),
    "selectors._fileobj_to_fd": (WATCH, _always("fileobj")),
    "events.Handle.__init__": (LAYOUT, _always(_HANDLE)),
    "events.Handle._run": ("crates/py/src/handle/run.rs", _always("self")),
    "events.TimerHandle.__init__": (LAYOUT, _always(_HANDLE.replace("self", "self when"))),
    "events._ThreadSafeHandle.__init__": (LAYOUT, {OLDEST: None, (3, 14): _HANDLE}),
    "transports._FlowControlMixin._set_write_buffer_limits": (
        HOOKS + ", _Limits",
        _always("self high low"),
    ),
    "selector_events._SelectorDatagramTransport.__init__": (
        DATAGRAM + ", and borrowed for sockets that are not plain ones",
        _always("self loop sock protocol address waiter extra"),
    ),
}

#: The slots of each class of its own: native instances are filled at their offsets.
SLOTS = {
    "events.Handle": (
        LAYOUT,
        "_callback _args _cancelled _loop _source_traceback _repr __weakref__ _context",
    ),
    "events.TimerHandle": (LAYOUT, "_scheduled _when"),
    "events._ThreadSafeHandle": (LAYOUT, {OLDEST: None, (3, 14): "_lock"}),
    "transports.BaseTransport": (TRANSPORT, "_extra"),
    "transports._FlowControlMixin": (
        TRANSPORT,
        "_loop _protocol_paused _high_water _low_water",
    ),
}

_WATCHES = "_add_reader _add_writer _remove_reader _remove_writer"

#: The private hooks of the loop that asyncio's classes call when they run on oxloop.
LOOP_HOOKS_OF = {
    "selector_events._SelectorDatagramTransport": _WATCHES + " _selector _transports",
    "base_subprocess.BaseSubprocessTransport": "",
    "base_events.Server": "_start_serving _stop_serving",
    "sslproto.SSLProtocol": "",
}

#: Names of EventLoop and its native half that asyncio does not have: its own.
OWN_NAMES = """
    _signal_descriptor _signal_socket _resume_accepting _drop_all
    _try_recv _try_recv_into _try_send _try_sendfile _try_recvfrom _try_recvfrom_into
    _try_sendto _try_connect _try_accept _until_connected _resolve _resolve_literal _resolve_name
    _forget_lookup _until_answered _watch_once _unwatch_once _watched
    _check_socket _until_ready _make_tls_transport _protect
    _watch_child _await_child _child_exited
"""

# -- comparing -------------------------------------------------------------------------------

ROOTS = {
    "Loop": SelectorEventLoop,
    "base_events": base_events,
    "base_subprocess": base_subprocess,
    "events": events,
    "format_helpers": format_helpers,
    "futures": futures,
    "selector_events": selector_events,
    "selectors": selectors,
    "sslproto": sslproto,
    "subprocess": subprocess,
    "transports": transports,
    "trsock": trsock,
    "unix_events": unix_events,
}


def lookup(path):
    """The object, or None if this Python has no such thing."""
    root, *names = path.split(".")
    found = ROOTS[root]
    for name in names:
        found = found and getattr(found, name, None)
    return found


def for_this_python(by_version):
    """The newest shape that is not newer than this Python; a bare one is of every version."""
    if not isinstance(by_version, dict):
        return by_version
    return by_version[max(version for version in by_version if version <= PYTHON)]


def parameters(function):
    """The names of the parameters, as they are written here; None if there is no function."""
    if function is None:
        return None
    forms = {
        inspect.Parameter.KEYWORD_ONLY: "*{}",
        inspect.Parameter.VAR_POSITIONAL: "{}*",
        inspect.Parameter.VAR_KEYWORD: "{}**",
    }
    given = inspect.signature(function).parameters.values()
    return " ".join(forms.get(one.kind, "{}").format(one.name) for one in given)


def own_and_overriding_names():
    """The names of EventLoop that SelectorEventLoop does not have, and those that it does."""
    mro = oxloop.EventLoop.__mro__
    names = {name for kind in mro[: mro.index(SelectorEventLoop)] for name in vars(kind)}
    names = {name for name in names if not re.fullmatch(r"__\w+__", name)}
    with closing(SelectorEventLoop()) as loop:
        known = set(dir(loop))
    return names - known, names & known


def changed(hook, where, expected, found):
    pytest.fail(
        f"asyncio's {hook} changed in Python {sys.version.split()[0]}:\n"
        f"  expected: {expected}\n  found:    {found}\n"
        f"Look at {where}; then add the new shape to tests/test_hooks.py or hook_shapes.py.",
        pytrace=False,
    )


def expect(hook, where, expected, found):
    if expected != found:
        changed(hook, where, expected, found)
