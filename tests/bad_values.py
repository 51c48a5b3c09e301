"""A fresh loop, one of each thing that its methods take, and pools of right and wrong values."""

import asyncio
import contextlib
import math
import os
import pathlib
import shutil
import signal
import socket
import tempfile
import weakref

from tls_support import client_context, server_context

# -- a loop and things to call it with -------------------------------------------------------


class Callback:
    """Takes anything; can be seen to be dead."""

    def __call__(self, *args, **kwargs):
        return None


class Protocol(asyncio.Protocol, asyncio.DatagramProtocol, asyncio.SubprocessProtocol):
    def connection_lost(self, exc):
        pass


class World:
    """A fresh loop, and one of each thing that its methods take."""

    def __init__(self, new_event_loop):
        self.reported = []
        self.closing = contextlib.ExitStack()
        self.given = []
        self.subject = None
        self.loop = new_event_loop()
        self.loop.set_exception_handler(self.report)

    def report(self, loop, context):
        exc = context.get("exception") if isinstance(context, dict) else None
        self.reported.append(type(exc).__name__)

    def keep(self, thing):
        return self.closing.enter_context(thing)

    def watch(self, thing):
        """Remember a thing that is given away: nobody may keep it after a failure."""
        self.given.append(weakref.ref(thing))
        return thing

    def callback(self):
        return self.watch(Callback())

    def protocol_factory(self):
        class Factory:
            def __call__(self):
                return Protocol()

        return self.watch(Factory())

    def coroutine(self):
        async def nothing():
            return None

        coroutine = nothing()
        self.closing.callback(coroutine.close)
        return coroutine

    def pair(self):
        ours, peer = map(self.keep, socket.socketpair())
        ours.setblocking(False)
        peer.setblocking(False)
        return ours, peer

    def sock(self):
        """A connected socket that has something to read."""
        ours, peer = self.pair()
        peer.send(b"data")
        return ours

    def listener(self):
        sock = self.keep(socket.create_server(("127.0.0.1", 0)))
        sock.setblocking(False)
        return sock

    def dialled(self):
        """A listening socket that somebody has connected to."""
        listener = self.listener()
        self.keep(socket.create_connection(listener.getsockname()))
        return listener

    def datagram_sock(self):
        """A UDP socket that has something to read."""
        sock = self.keep(socket.socket(type=socket.SOCK_DGRAM))
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        sock.sendto(b"data", sock.getsockname())
        return sock

    def blocking_sock(self):
        sock = self.sock()
        sock.setblocking(True)
        return sock

    def closed_sock(self):
        sock = self.sock()
        sock.close()
        return sock

    def file(self, mode="rb"):
        file = self.keep(tempfile.NamedTemporaryFile())  # noqa: SIM115 (closed with the world)
        file.write(b"data")
        file.flush()
        return self.keep(open(file.name, mode))

    def pipe(self, mode):
        reading, writing = os.pipe()
        ends = {"rb": os.fdopen(reading, "rb", 0), "wb": os.fdopen(writing, "wb", 0)}
        for end in ends.values():
            self.keep(end)
        return ends[mode]

    def transport_sock(self):
        transport = self.stream()
        self.closing.callback(lambda: transport)  # which keeps it
        return transport._sock

    # -- subjects ----------------------------------------------------------------------------

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def handle(self):
        return self.loop.call_soon(Callback())

    def timer(self):
        return self.loop.call_later(1000, Callback())

    def server(self):
        return self.run(self.loop.create_server(Protocol, "127.0.0.1", 0))

    def stream(self):
        return self.run(self.loop.create_connection(Protocol, sock=self.pair()[0]))[0]

    def datagram(self):
        made = self.loop.create_datagram_endpoint(Protocol, ("127.0.0.1", 0))
        return self.run(made)[0]

    def read_pipe(self):
        return self.run(self.loop.connect_read_pipe(Protocol, self.pipe("rb")))[0]

    def write_pipe(self):
        return self.run(self.loop.connect_write_pipe(Protocol, self.pipe("wb")))[0]

    def process(self):
        made = self.loop.subprocess_exec(Protocol, CAT, stdout=None, stderr=None)
        return self.run(made)[0]

    def tls(self):
        async def both():
            ours, peer = self.pair()
            options = {"ssl_handshake_timeout": 10, "ssl_shutdown_timeout": 0.2}
            serving = self.loop.connect_accepted_socket(
                Protocol, peer, ssl=SERVER_CONTEXT, **options
            )
            dialling = self.loop.create_connection(
                Protocol, sock=ours, ssl=CLIENT_CONTEXT, server_hostname="localhost", **options
            )
            (transport, _), (self.other, _) = await asyncio.gather(dialling, serving)
            return transport

        return self.run(both())


CAT, TRUE = shutil.which("cat"), shutil.which("true")
SERVER_CONTEXT, CLIENT_CONTEXT = server_context(), client_context()


# -- values ----------------------------------------------------------------------------------


def always(value):
    return lambda world: value


#: What a parameter takes.
VALID = {
    "address": lambda world: world.listener().getsockname(),
    "backlog": always(5),
    "buf": lambda world: bytearray(4),
    "bufsize": always(0),
    "callback": World.callback,
    "cmd": always("exit 0"),
    "context": always(None),
    "coro": World.coroutine,
    "data": always(b"x"),
    "delay": always(0),
    "enabled": always(True),
    "executor": always(None),
    "factory": always(None),
    "fd": World.sock,
    "file": World.file,
    "func": World.callback,
    "future": World.coroutine,
    "handler": always(None),
    "high": always(100),
    "host": always("127.0.0.1"),
    "list_of_data": always([b"x", b"y"]),
    "low": always(10),
    "n": always(1),
    "name": always("socket"),
    "pipe": lambda world: world.pipe("rb"),
    "port": lambda world: world.listener().getsockname()[1],
    "program": always(TRUE),
    "protocol": lambda world: Protocol(),
    "protocol_factory": World.protocol_factory,
    "sig": always(signal.SIGUSR1),
    "signal": always(0),
    "server_hostname": always("localhost"),
    "sock": World.sock,
    "sockaddr": always(("127.0.0.1", 80)),
    "sslcontext": always(CLIENT_CONTEXT),
    "transport": World.stream,
    "when": lambda world: world.loop.time(),
}
#: What it takes in one method.
VALID_IN = {
    ("call_exception_handler", "context"): always({"message": "on purpose"}),
    ("default_exception_handler", "context"): always({"message": "on purpose"}),
    ("connect_write_pipe", "pipe"): lambda world: world.pipe("wb"),
    ("create_server", "port"): always(0),
    ("create_unix_server", "path"): lambda world: new_path(world),
    ("create_unix_connection", "path"): lambda world: listening_path(world),
    ("set_default_executor", "executor"): always(None),
    ("sock_accept", "sock"): World.dialled,
    ("sock_connect", "sock"): lambda world: tcp_sock(world),
    ("sock_recvfrom", "sock"): World.datagram_sock,
    ("sock_recvfrom_into", "sock"): World.datagram_sock,
    ("sock_sendto", "sock"): World.datagram_sock,
    ("create_datagram_endpoint", "local_addr"): always(("127.0.0.1", 0)),
    ("create_datagram_endpoint", "sock"): World.datagram_sock,
    ("sendto", "addr"): lambda world: world.datagram_sock() and ("127.0.0.1", 9),
    ("get_pipe_transport", "fd"): always(0),
}
#: Parameters that a valid call has although they have a default.
NEEDED = {
    "create_connection": ("host", "port"),
    "create_server": ("host", "port"),
    "create_datagram_endpoint": ("local_addr",),
    "create_unix_connection": ("path",),
    "create_unix_server": ("path",),
    "sendto": ("addr",),
    "start_tls": ("server_hostname",),
    "set_write_buffer_limits": ("high", "low"),
}
#: Keywords that do not show in the signature.
HIDDEN = {"create_task": ("name", "context", "eager_start")}
#: With `sock`, these have to be left out.
INSTEAD_OF_SOCK = ("host", "port", "path", "local_addr")


def new_path(world):
    return os.path.join(world.keep(tempfile.TemporaryDirectory(prefix="oxloop-")), "socket")


def listening_path(world):
    path = new_path(world)
    sock = world.keep(socket.socket(socket.AF_UNIX))
    sock.bind(path)
    sock.listen()
    return path


def tcp_sock(world):
    sock = world.keep(socket.socket())
    sock.setblocking(False)
    return sock


async def coroutine_function():
    pass


#: Tried in every place.
ANYWHERE = {
    "None": always(None),
    "-1": always(-1),
    "0": always(0),
    "1.5": always(1.5),
    "nan": always(math.nan),
    "huge": always(10**30),
    "text": always("text"),
    "bytes": always(b"bytes"),
    "[]": always([]),
    "object()": lambda world: object(),
    "class": always(Exception),
}
_SOCKETS = {
    "closed": World.closed_sock,
    "blocking": World.blocking_sock,
    "listening": World.listener,
    "UDP": World.datagram_sock,
    "a transport's": World.transport_sock,
}
_CALLABLES = {"coroutine function": always(coroutine_function), "coroutine": World.coroutine}
_DATA = {
    "empty": always(b""),
    "bytearray": lambda world: bytearray(b"x"),
    "memoryview": lambda world: memoryview(b"xy"),
    "gaps": lambda world: memoryview(b"abcd")[::2],
    "wide": lambda world: memoryview(b"abcdefgh").cast("q"),
}
_FILES = {
    "closed": lambda world: (file := world.file(), file.close())[0],
    "text file": lambda world: world.file("r"),
    "regular file": World.file,
    "file number": lambda world: world.file().fileno(),
}
#: Tried in the places of that name as well.
SPECIAL = {
    "address": {"name": always(("", 1)), "short": always(("127.0.0.1",)), "port": always(("", -1))},
    "buf": {"empty": lambda world: bytearray(), "read only": always(memoryview(b"x"))},
    "callback": _CALLABLES,
    "func": _CALLABLES,
    "data": _DATA,
    "delay": {"inf": always(math.inf), "-inf": always(-math.inf), "True": always(True)},
    "when": {"inf": always(math.inf), "-inf": always(-math.inf), "complex": always(1j)},
    "fd": _SOCKETS
    | {"not open": always(10_000), "file": World.file, "number": lambda w: w.sock().fileno()},
    "file": _FILES,
    "pipe": _FILES | {"socket": World.sock, "writable": lambda world: world.pipe("wb")},
    "sock": _SOCKETS,
    "port": {"70000": always(70_000), "service": always("no-such-service"), "bytes": always(b"1")},
    "path": {
        "NUL": always("a\0b"),
        "long": always("x" * 200),
        "missing": always("/no/such/folder/socket"),
        "Path": lambda world: pathlib.Path(new_path(world)),
    },
    "sig": {
        "SIGKILL": always(signal.SIGKILL),
        "999": always(999),
        "True": always(True),
    },
    "signal": {"999": always(999)},
    "sslcontext": {"True": always(True), "server's": always(SERVER_CONTEXT)},
    "ssl": {"context": always(CLIENT_CONTEXT), "True": always(True)},
    "coro": {"function": always(coroutine_function), "future": lambda w: w.loop.create_future()},
    "future": {"function": always(coroutine_function), "future": lambda w: w.loop.create_future()},
    "context": {"dict": always({})},
    "list_of_data": {
        "empty": always([]),
        "empties": always([b"", b""]),
        "wrong": always([5]),
        "text": always(["x"]),
        "second wrong": always([b"x", None]),
        "generator": lambda world: (data for data in (b"x", b"y")),
    },
    "local_addr": {"pair": always(("127.0.0.1", 0)), "foreign": always(("192.0.2.1", 0))},
    "remote_addr": {"pair": always(("127.0.0.1", 9)), "short": always(("127.0.0.1",))},
    "transport": {
        "closed": lambda world: (stream := world.stream(), stream.abort())[0],
        "datagram": World.datagram,
    },
    "executor": {"closed": lambda world: closed_executor()},
    "sockaddr": {"name": always(("", "")), "short": always(("127.0.0.1",))},
    "protocol": {"factory": World.protocol_factory},
    "timeout": {"zero": always(0)},
}
#: No names that a resolver would have to ask the network for.
ONLY = {"host": ("None", "-1", "1.5", "[]", "object()", "class")}


def closed_executor():
    from concurrent.futures import ThreadPoolExecutor

    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    return executor


def wrong_values(name):
    values = ANYWHERE | SPECIAL.get(name, {})
    return {label: values[label] for label in ONLY.get(name, values)}


def valid(method, name):
    return VALID_IN.get((method, name)) or VALID.get(name) or always(None)
