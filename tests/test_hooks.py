"""CPython's private hooks have the shapes that oxloop relies on.

asyncio may change them with any release. What fails here names the hook and where oxloop uses it:
adapt that for the new Python, then add the new shape to ``hook_shapes.py``.
"""

import asyncio
import inspect
import re
import selectors
import socket
import ssl
import sys
import types
from asyncio import constants, format_helpers, sslproto
from contextlib import closing
from pathlib import Path

import hook_shapes as shapes
import pytest
from hook_shapes import expect, for_this_python, lookup, parameters

import oxloop
from oxloop import _hooks, _oxloop

pytestmark = pytest.mark.oxloop_only

BASE = asyncio.SelectorEventLoop
RUST = Path(__file__).parent.parent / "crates" / "py" / "src"
STREAMS = "crates/py/src/streams/"
HAVE_C_TASKS = asyncio.Task.__module__ == "_asyncio"
STATE = {"_closed", "_stopping", "_debug", "_thread_id", "_task_factory"}
OpenTransport = type("OpenTransport", (), {"is_closing": lambda self: False})


@pytest.mark.parametrize("hook", shapes.SIGNATURES)
def test_signature(hook):
    where, by_version = shapes.SIGNATURES[hook]
    expect(hook, where, for_this_python(by_version), parameters(lookup(hook)))


@pytest.mark.parametrize("name", shapes.SLOTS)
def test_slots(name):
    where, expected = shapes.SLOTS[name]
    expected = for_this_python(expected)
    kind = lookup(name)
    found = None if kind is None else set(getattr(kind, "__slots__", ["no __slots__"]))
    expect(f"{name}.__slots__", where, None if expected is None else set(expected.split()), found)
    for slot in (found or set()) - {"__weakref__"}:
        kind_of_slot = type(vars(kind).get(slot))
        expect(f"{name}.{slot}", where, types.MemberDescriptorType, kind_of_slot)


@pytest.mark.parametrize("name", shapes.LOOP_HOOKS_OF)
def test_loop_hooks_that_asyncio_calls(name):
    kinds = [kind for kind in lookup(name).__mro__ if kind.__module__.startswith("asyncio.")]
    source = "\n".join(map(inspect.getsource, kinds))
    found = set(re.findall(r"\bloop\.(_[a-z]\w*)", source.replace("self._loop.", "loop.")))
    expected = set(shapes.LOOP_HOOKS_OF[name].split())
    expect(f"{name}: what it calls of its loop", shapes.WATCH, expected, found)


@pytest.mark.parametrize("module", ["base_events", "sslproto", "streams"])
def test_transport_hooks_that_asyncio_calls(module):
    source = inspect.getsource(getattr(asyncio, module))
    used = set(re.findall(r"\b_?transp(?:ort)?\.([a-z_]+)", source))
    missing = {name for name in used if not hasattr(_oxloop.StreamTransport, name)}
    expect(f"{module}: what it uses of a transport", shapes.TRANSPORT, set(), missing)


def test_every_override_overrides_something():
    own, _ = shapes.own_and_overriding_names()
    expected = set(shapes.OWN_NAMES.split())
    hook = f"SelectorEventLoop (overridden, gone: {own - expected}; new there: {expected - own})"
    expect(hook, "_loop.py, event_loop/mod.rs and OWN_NAMES", expected, own)


def test_overrides_take_what_the_base_takes():
    """For those whose signature Python knows; add_reader and its kin check their own."""
    _, overriding = shapes.own_and_overriding_names()
    for name in sorted(overriding):
        base, ours = getattr(BASE, name, None), getattr(oxloop.EventLoop, name)
        try:
            base, ours = (inspect.signature(one).parameters for one in (base, ours))
        except (TypeError, ValueError):
            continue
        if "object" in ours or any(one.kind is one.VAR_KEYWORD for one in ours.values()):
            continue
        missing = set(base) - set(ours) - ({"context"} if "add_" in name else set())
        expect(f"{name}: parameters ours lacks", f"{shapes.LOOP}, {RUST}", set(), missing)


def test_watch_hooks_take_a_context_if_asyncio_has_one():
    """Native methods have no signature; 3.15 passes ``context=`` to them."""
    if "context" not in inspect.signature(BASE._add_reader).parameters:
        pytest.skip("new in Python 3.15")
    left, right = socket.socketpair()
    with left, right, closing(oxloop.EventLoop()) as loop:
        handle = loop._add_reader(left.fileno(), print, context=None)
        assert isinstance(handle, asyncio.Handle), shapes.WATCH
        assert loop._remove_reader(left.fileno()), shapes.WATCH


def test_names_that_the_extension_module_takes():
    if not RUST.is_dir():
        pytest.skip("no source tree")
    source = "\n".join(file.read_text() for file in sorted(RUST.rglob("*.rs")))
    # hooks().get(py, "name"), hooks.base_class(py, "Name"), and get("NAME") in Hooks::load.
    names = re.findall(r'\b(?:get|base_class|optional)\(\s*(?:py,\s*)?"(\w+)"', source)
    assert {"Handle", "FlowControlMixin", "FUTURES", "TASK_WAKEUP", "accept_tls"} <= set(names)
    missing = sorted({name for name in names if not hasattr(_hooks, name)})
    assert not missing, f"the Rust source asks oxloop._hooks for {missing}"


def test_state_that_the_base_class_writes():
    """Each of these is a property of the native loop, or an attribute its half in Python reads."""
    written = set()

    class Recording(BASE):
        def __setattr__(self, name, value):
            written.add(name)
            super().__setattr__(name, value)

    with closing(Recording()) as loop:
        loop.set_debug(False)
        loop.set_task_factory(None)
        loop.call_soon(loop.stop)
        loop.run_forever()
    expected = {*STATE, "_ssock", "_csock", "_transports", "_signal_handlers", "_current_handle"}
    expect("loop: what it writes", shapes.EVENT_LOOP, expected, expected & written)
    for name in STATE:
        assert inspect.isdatadescriptor(inspect.getattr_static(oxloop.EventLoop, name)), name


def test_run_forever_calls_run_once_until_stopping():
    calls = []

    class Counting(BASE):
        def _run_once(self):
            calls.append((self._thread_id, self._stopping))
            self._stopping = len(calls) == 2

    with closing(Counting()) as loop:
        loop.run_forever()
        after = (len(calls), calls[0][0] is None, loop._thread_id, loop._stopping)
        expect("loop.run_forever", shapes.EVENT_LOOP, (2, False, None, False), after)


def test_scheduling_checks():
    with closing(BASE()) as loop:
        with pytest.raises(TypeError):
            loop._check_callback(None, "call_soon")
        loop._thread_id = -1
        with pytest.raises(RuntimeError):
            loop._check_thread()
        loop._thread_id = None
    with pytest.raises(RuntimeError):
        loop._check_closed()


def test_create_task_of_the_base_class_runs_on_the_native_loop():
    with closing(oxloop.EventLoop()) as loop:
        task = _hooks.base_create_task(loop, asyncio.sleep(0, 1), name="one", context=None)
        assert loop.run_until_complete(task) == 1 and task.get_name() == "one"


def test_signals_arrive_through_the_self_pipe():
    seen = []

    class Recording(BASE):
        def _handle_signal(self, sig):
            seen.append(sig)

        def _add_callback_signalsafe(self, handle):
            seen.append("callback")

    with closing(Recording()) as loop:
        for end in (loop._ssock, loop._csock):
            expect("loop._ssock, loop._csock", shapes.LOOP, socket.socket, type(end))
        loop._process_self_data(bytes([0, 10]))
        loop._csock.send(bytes([12]))
        loop._read_from_self()
        expect("loop._process_self_data", shapes.LOOP, [10, 12], seen)
        loop._signal_handlers[10] = asyncio.Handle(print, (), loop)
        BASE._handle_signal(loop, 10)
        expect("loop._handle_signal", shapes.LOOP, [10, 12, "callback"], seen)
        loop._signal_handlers.clear()


def test_servers_and_descriptors():
    removed = []

    class Recording(BASE):
        def _remove_reader(self, fd):
            removed.append(fd)
            return super()._remove_reader(fd)

    with closing(Recording()) as loop, socket.socket() as sock:
        fd = sock.fileno()
        with pytest.raises(ValueError, match="Invalid file object"):
            loop._ensure_fd_no_transport(object())
        loop._transports[fd] = transport = OpenTransport()
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop._ensure_fd_no_transport(sock)
        del loop._transports[fd], transport
        loop._stop_serving(sock)
        expect("loop._stop_serving", shapes.ACCEPT, [fd], removed)
        expect("loop._stop_serving: socket", shapes.ACCEPT, -1, sock.fileno())


class OtherSocket(socket.socket):
    """A socket with a method of its own: its transport is asyncio's."""

    def sendto(self, *args):
        return super().sendto(*args)


@pytest.mark.parametrize("socket_kind", [socket.socket, OtherSocket])
def test_datagram_transports_are_known_to_the_loop(socket_kind):
    async def main():
        loop = asyncio.get_running_loop()
        sock = socket_kind(type=socket.SOCK_DGRAM)
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=sock)
        native = type(transport) is _oxloop.DatagramTransport
        assert native == (type(loop) is oxloop.EventLoop and socket_kind is socket.socket)
        fd = transport._sock_fd
        assert loop._transports.get(fd) is transport, f"loop._transports: see {shapes.HOOKS}"
        assert "read=polling" in repr(transport), "loop._selector: see python/oxloop/_selector.py"
        transport.close()
        await asyncio.sleep(0)

    for kind in (BASE, oxloop.EventLoop):
        with closing(kind()) as loop:
            loop.run_until_complete(main())


@pytest.mark.skipif(not HAVE_C_TASKS, reason="Tasks in Python have no C callbacks")
def test_the_c_callbacks_of_tasks_are_known():
    hint = f"C Tasks call call_soon() otherwise: see _task_callbacks() in {shapes.HOOKS}"
    assert _hooks.TASK_STEP_TYPE is not None and _hooks.TASK_WAKEUP is not None, hint
    step, wakeup = _hooks.tasks._task_callbacks()
    assert step is _hooks.TASK_STEP_TYPE and type(wakeup) is type(len), hint
    assert wakeup.__name__ == _hooks.TASK_WAKEUP.__name__, hint


def test_constants():
    for name in ("ACCEPT_RETRY_DELAY", "SSL_HANDSHAKE_TIMEOUT", "SSL_SHUTDOWN_TIMEOUT"):
        kind = type(getattr(constants, name, None))
        expect(f"constants.{name}", shapes.HOOKS, float if "SSL" in name else int, kind)
    modes = {mode.name for mode in constants._SendfileMode}
    expect("_SendfileMode", shapes.HOOKS, {"UNSUPPORTED", "TRY_NATIVE", "FALLBACK"}, modes)


def test_sendfile_and_start_tls_ask_the_transport():
    class Recording(BASE):
        async def _sendfile_native(self, transp, file, offset, count):
            return "native"

    kind = _oxloop.StreamTransport
    transport = OpenTransport()
    transport._sendfile_compatible = kind._sendfile_compatible
    transport._start_tls_compatible = False
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with closing(Recording()) as loop:
        sent = loop.run_until_complete(loop.sendfile(transport, None))
        expect("loop.sendfile: _sendfile_compatible", shapes.HOOKS, "native", sent)
        with pytest.raises(TypeError, match="not supported by start_tls"):
            loop.run_until_complete(loop.start_tls(transport, None, tls))
    assert kind._start_tls_compatible is True


def test_tls_protocol():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    timeouts = {"ssl_handshake_timeout": 1, "ssl_shutdown_timeout": 1}
    with closing(BASE()) as loop:
        protocol = sslproto.SSLProtocol(loop, asyncio.Protocol(), tls, None, False, "x", **timeouts)
        assert isinstance(protocol, _hooks.BufferedProtocol), f"SSLProtocol: see {shapes.LOOP}"
        stream = asyncio.StreamReader(loop=loop)
        reader = asyncio.StreamReaderProtocol(stream, loop=loop)
        state = (reader._stream_reader, stream._buffer, reader._closed.done())
        expect("StreamReaderProtocol", shapes.HOOKS, (stream, bytearray(), False), state)
        session = tls.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="x")
        names = {"read", "write", "do_handshake", "shutdown", "pending"}
        missing = names - set(dir(session._sslobj))
        expect("SSLObject._sslobj: what it lacks", shapes.SESSION, set(), missing)
    returned = re.findall(r"return (.*)", inspect.getsource(BASE._make_ssl_transport))
    expect("_make_ssl_transport", shapes.LOOP, ["ssl_protocol._app_transport"], returned)


def test_streams():
    """What crates/py/src/streams takes for granted of asyncio's stream objects."""
    assert _hooks.are_streams_known()
    assert all(map(_hooks.is_stream_class_stock, _hooks.STREAM_CLASSES))
    reader, protocol, writer = _hooks.STREAM_CLASSES
    names = "read readline readuntil readexactly __anext__ feed_data at_eof exception"
    expect("StreamReader", STREAMS, set(), set(names.split()) - vars(reader).keys())
    expect("StreamReaderProtocol", STREAMS, property, type(protocol._stream_reader))
    for method, names in (
        (writer.drain, "_reader _transport _protocol _drain_helper"),
        (protocol._drain_helper, "_connection_lost _paused"),
        (protocol.connection_made, "_client_connected_cb _stream_reader"),
        (reader._wait_for_data, "_waiter _eof _paused create_future"),
    ):
        missing = set(names.split()) - set(method.__code__.co_names)
        expect(method.__qualname__, STREAMS, set(), missing)


def test_output_of_children():
    """What crates/py/src/transport/child.rs takes for granted of asyncio's way."""
    assert _hooks.CHILD_OUTPUT is not None
    pipe_protocol, data_received, pipe_data_received, call, stream_protocol, feed = (
        _hooks.CHILD_OUTPUT
    )
    expect(
        "ReadSubprocessPipeProto",
        shapes.CHILD,
        {"proc": 1, "fd": 2}.items(),
        vars(pipe_protocol(1, 2)).items() & {"proc": 1, "fd": 2}.items(),
    )
    for method, names in (
        (data_received, ("proc", "_pipe_data_received", "fd")),
        (pipe_data_received, ("_call", "_protocol", "pipe_data_received")),
        (call, ("_pending_calls", "append", "_loop", "call_soon")),
        (feed, ("stdout", "stderr", "feed_data")),
    ):
        expect(method.__qualname__, shapes.CHILD, names, method.__code__.co_names)
    with closing(BASE()) as loop:
        attributes = vars(stream_protocol(limit=1, loop=loop)).keys() & {"stdout", "stderr"}
    expect("SubprocessStreamProtocol", shapes.CHILD, {"stdout", "stderr"}, attributes)


def test_small_functions():
    with closing(BASE()) as loop, socket.socket() as sock:
        future = loop.create_future()
        _hooks.set_result_unless_cancelled(future, 1)
        assert future.result() == 1, "futures._set_result_unless_cancelled"
        (cancelled := loop.create_future()).cancel()
        _hooks.set_result_unless_cancelled(cancelled, 1)
        loop.set_debug(True)
        handle = asyncio.Handle(print, (1,), loop)
        source = _hooks.running._format_callback(handle, loop)
        assert "print(1)" in source, "_format_callback_source"
        assert "print" in _hooks.base_events._format_handle(handle), "base_events._format_handle"
        assert _hooks.transport_socket(sock).fileno() == sock.fileno(), "trsock.TransportSocket"
        assert _hooks.fileobj_to_fd(sock) == sock.fileno() == _hooks.fileno_of(sock)
    with pytest.raises(ValueError):
        selectors._fileobj_to_fd(-1)
    with pytest.raises(TypeError, match="Socket cannot be of type"):
        _hooks.check_ssl_socket(ssl.SSLSocket.__new__(ssl.SSLSocket))
    assert _hooks.write_buffer_limits() == (16 * 1024, 64 * 1024), "_set_write_buffer_limits"
    with pytest.raises(ValueError):
        _hooks.write_buffer_limits(high=1, low=2)
    assert isinstance(format_helpers.extract_stack(sys._getframe()), list | tuple)


@pytest.mark.skipif(sys.version_info >= (3, 16), reason="no policies any more")
def test_policies():
    policy = type("Policy", (_hooks.DefaultEventLoopPolicy,), {"_loop_factory": object})
    made = type(policy().new_event_loop())
    expect("policy._loop_factory", "python/oxloop/_policy.py", object, made)
    assert callable(_hooks.set_event_loop_policy)
