"""Shared fixtures. Every contract test runs once on asyncio and once on oxloop.

asyncio is the reference: a wrong expectation fails there. Where asyncio itself is known to be
wrong, `@pytest.mark.asyncio_wrong("reason")` turns its run into a strict expected failure; what
point releases repair is `strict=False`, and what oxloop inherits from them `inherited=True`.
asyncio's run of a test is made once more where it fails, for it has races of its own on a loaded
machine, and the summary counts them as rerun; oxloop's never is.
"""

import asyncio
import contextlib
import faulthandler
import gc
import importlib
import os
import signal
import socket
import sys
import tempfile
import time

import pytest
from stream_support import Peers
from support import FULL, Datagrams, ErrorLog, HangGuard, Recorder, open_fds, spin
from tls_support import client_context, protect, server_context

KINDS = ("asyncio", "oxloop")
GUARD_SECONDS = 300 if FULL else 30


def pytest_addoption(parser):
    parser.addoption("--loop", choices=KINDS, help="run on this event loop only")


def pytest_configure(config):
    for line in (
        "asyncio_wrong(reason, since, until, strict=True, inherited=False): asyncio fails this "
        "test (on versions >= since and < until); oxloop must pass it unless it inherits the code",
        "oxloop_only: about oxloop itself, there is nothing to compare with",
    ):
        config.addinivalue_line("markers", line)
    # What a shell starts in the background ignores Ctrl-C, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("PytestUnraisableExceptionWarning", "PytestUnhandledThreadExceptionWarning"):
        config.addinivalue_line("filterwarnings", f"error::pytest.{name}")


def kind_of(item):
    params = getattr(getattr(item, "callspec", None), "params", {})
    return params.get("loop_kind") or ("oxloop" if item.get_closest_marker("oxloop_only") else None)


def is_wanted(item, only):
    kind = kind_of(item)
    if kind == "asyncio" and item.get_closest_marker("oxloop_only"):
        return False
    params = getattr(getattr(item, "callspec", None), "params", {})
    if kind == "asyncio" and params.get("tls_session") == "object":
        return False
    return only is None or kind in (None, only)


def known_failure(kind, reason, since=(), until=(9,), strict=True, inherited=False):
    """The xfail mark that an `asyncio_wrong` mark stands for, or None."""
    if (kind == "oxloop" and not inherited) or not since <= sys.version_info < until:
        return None
    return pytest.mark.xfail(reason=f"asyncio: {reason}", strict=strict and not inherited)


def pytest_collection_modifyitems(config, items):
    only = config.getoption("--loop")
    wanted = [item for item in items if is_wanted(item, only)]
    config.hook.pytest_deselected(items=[item for item in items if not is_wanted(item, only)])
    items[:] = wanted
    for item in items:
        if kind_of(item) == "asyncio":
            item.add_marker(pytest.mark.flaky(reruns=1))
        for mark in item.iter_markers("asyncio_wrong"):
            if xfail := known_failure(kind_of(item), *mark.args, **mark.kwargs):
                item.add_marker(xfail)


@pytest.fixture(autouse=True, scope="module")
def cheap_collections():
    """Leave what is there by now, the reports of earlier tests above all, out of the many
    collections that follow: each goes through everything else."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def origin_tracking():
    """Debug mode turns it on for the thread; a run that a test breaks may leave it on."""
    depth = sys.get_coroutine_origin_tracking_depth()
    yield
    sys.set_coroutine_origin_tracking_depth(depth)


@pytest.fixture(params=KINDS)
def loop_kind(request):
    return request.param


@pytest.fixture
def loop_module(loop_kind):
    """The module under test; a failing import of oxloop fails the test, it never skips it."""
    return importlib.import_module(loop_kind)


@pytest.fixture
def loop_factory(loop_module):
    return loop_module.new_event_loop


@pytest.fixture
def loop_class(loop_module):
    """The class a program subclasses to extend the loop."""
    return getattr(loop_module, "SelectorEventLoop", None) or loop_module.EventLoop


@pytest.fixture(params=("preferred", "object"))
def tls_session(request, loop_kind, monkeypatch):
    """Run a test with both sessions that oxloop has for TLS; see OXLOOP_TLS. asyncio has one."""
    if loop_kind == "oxloop" and request.param == "object":
        monkeypatch.setattr("oxloop._hooks.tls.TLS_SESSION", "object")


@pytest.fixture(autouse=True)
def hang_guard():
    """A test that hangs fails instead; the interpreter dies only if even Python is stuck."""

    def expire(signum, frame):
        raise HangGuard(f"still running after {GUARD_SECONDS} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, GUARD_SECONDS, 5)
    faulthandler.dump_traceback_later(GUARD_SECONDS + 30, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def errors():
    """What reached the loop's exception handler; `errors.take()` says it was expected."""
    return ErrorLog()


@pytest.fixture
def no_leaked_fds():
    gc.collect()
    before = open_fds()
    yield
    gc.collect()
    # What a lookup that nobody waits for has open, its thread closes a moment later.
    end = time.monotonic() + 5
    while (leaked := new_fds(before)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not leaked


def new_fds(before):
    return {fd: name for fd, name in open_fds().items() if fd > 2 and before.get(fd) != name}


@pytest.fixture
def loop(no_leaked_fds, loop_factory, errors):
    """A fresh loop, closed at the end; nothing may reach its exception handler unnoticed."""
    loop = loop_factory()
    loop.set_exception_handler(errors)
    yield loop
    if not loop.is_closed():
        spin(loop)
        loop.close()
    gc.collect()
    contexts = errors.take()
    assert not contexts, "unexpected calls of the exception handler"


@pytest.fixture
def run(loop):
    """Run a coroutine to its end; the hang guard watches."""
    return loop.run_until_complete


@pytest.fixture
def cleanup():
    """A list of sockets, files, transports or servers that are closed after the test."""
    things = []
    yield things
    for thing in reversed(things):
        thing.close()


@pytest.fixture
def connect(loop):
    """Make a transport over one end of a socket pair: `transport, protocol, peer = connect()`."""
    made = []

    def connect(factory=Recorder, *, sndbuf=None):
        ours, peer = socket.socketpair()
        if sndbuf:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        peer.setblocking(False)
        opening = loop.create_connection(factory, sock=ours)
        transport, protocol = loop.run_until_complete(opening)
        made.append((transport, peer))
        return transport, protocol, peer

    yield connect
    for transport, peer in made:
        with contextlib.suppress(AttributeError):  # asyncio's after a flushed close
            transport.abort()
        peer.close()
    spin(loop)
    made.clear()


@pytest.fixture
def listener(cleanup):
    """A plain listening socket on loopback, and its address."""
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    cleanup.append(sock)
    return sock


@pytest.fixture
def endpoint(loop, run):
    """Make a datagram endpoint that is closed after the test: `transport, protocol`."""
    made = []

    def endpoint(factory=Datagrams, **options):
        if not options:
            options = {"local_addr": ("127.0.0.1", 0)}
        transport, protocol = run(loop.create_datagram_endpoint(factory, **options))
        made.append(transport)
        return transport, protocol

    yield endpoint
    for transport in made:
        with contextlib.suppress(AttributeError):  # asyncio's after a flushed close
            transport.abort()
    spin(loop)


@pytest.fixture
def plain(cleanup):
    """A plain UDP socket on loopback."""
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(20)
    cleanup.append(sock)
    return sock


@pytest.fixture
def peers(loop, run):
    """Play a scene with both ends of a stream: `peers(scene, limit=...)`."""

    def play(scene, **options):
        async def main():
            peers = await Peers().open(**options)
            try:
                return await asyncio.wait_for(scene(peers, peers.reader), 20)
            finally:
                await peers.close()

        try:
            return run(main())
        finally:
            spin(loop)

    return play


@pytest.fixture
def layered(loop):
    """Two ends of one connection with TLS so many times: `client, server = layered(2)`."""
    made = []

    def layered(layers=2, client_factory=Recorder, server_factory=Recorder, **options):
        async def open_both():
            ours, theirs = socket.socketpair()
            accepting = loop.create_task(
                loop.connect_accepted_socket(server_factory, theirs, ssl=server_context())
            )
            connecting = loop.create_connection(
                client_factory, sock=ours, ssl=client_context(), server_hostname="localhost"
            )
            (_, client), (_, server) = await asyncio.gather(connecting, accepting)
            made.extend(protocol.transport for protocol in (client, server))
            for _ in range(layers - 1):
                await protect(loop, client, server, **options)
            return client, server

        return loop.run_until_complete(open_both())

    yield layered
    for transport in made:
        transport.abort()
    spin(loop)


@pytest.fixture
def folder():
    """A folder with a path short enough for a socket address."""
    with tempfile.TemporaryDirectory(prefix="oxloop-") as name:
        yield name


@pytest.fixture
def unix_pair(folder):
    """A Unix datagram socket, connected, and its peer that reads only when asked."""
    ours, peer = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    for sock, name in ((ours, "ours"), (peer, "peer")):
        sock.bind(os.path.join(folder, name))
        sock.setblocking(False)
    ours.connect(peer.getsockname())
    with peer:
        yield ours, peer


@pytest.fixture
def current_loop(loop):
    """The loop also as the thread's current loop, for code that asks for it outside a run."""
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
