"""What the tests share: recording protocols, waiting, and scripts run in a child interpreter."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

FULL = os.environ.get("OXLOOP_FULL") == "1"


def since(*version):
    import pytest  # not needed by most that import this, and slow to import

    return pytest.mark.skipif(sys.version_info < version, reason=f"new in Python {version}")


def until(*version):
    import pytest

    return pytest.mark.skipif(sys.version_info >= version, reason=f"gone in Python {version}")


class HangGuard(SystemExit):
    """Ends a hanging test. A SystemExit, because a loop must let it out of any callback."""


class Boom(Exception):
    """Raised on purpose."""


class ErrorLog:
    """An exception handler that remembers."""

    def __init__(self):
        self.contexts = []

    def __call__(self, loop, context):
        self.contexts.append(context)

    def take(self):
        contexts, self.contexts = self.contexts, []
        return contexts

    def take_one(self, exception=Boom):
        (context,) = self.take()
        assert isinstance(context["exception"], exception)
        return context


def open_fds():
    """The open descriptors and what they point to."""
    found = {}
    for name in os.listdir("/dev/fd"):
        try:
            found[int(name)] = os.readlink(f"/dev/fd/{name}")
        except OSError:
            pass  # the descriptor of the listing itself
    return found


def spin(loop, turns=5):
    """Let the loop make some turns without waiting for anything."""
    for _ in range(turns):
        loop.call_soon(loop.stop)
        loop.run_forever()


async def eventually(predicate):
    """Wait until the predicate holds; the hang guard ends what never comes."""
    while not predicate():
        await asyncio.sleep(0.001)


async def recv_exactly(loop, sock, size):
    data = bytearray()
    while len(data) < size:
        chunk = await loop.sock_recv(sock, 65536)
        if not chunk:
            break
        data += chunk
    return bytes(data)


async def recv_all(loop, sock):
    """Everything the peer sends until its EOF."""
    return await recv_exactly(loop, sock, float("inf"))


class Noting:
    """Writes down the names of callbacks; `hooks` run inside the callback of that name."""

    def __init__(self, **hooks):
        self.hooks = hooks
        self.calls = []

    def note(self, name, *args):
        self.calls.append(name)
        hook = self.hooks.get(name)
        return hook(*args) if hook else None

    def connection_made(self, transport):
        self.transport = transport
        self.note("connection_made", transport)


class Recorder(Noting, asyncio.Protocol):
    """Notes every callback, and keeps what came."""

    def __init__(self, **hooks):
        super().__init__(**hooks)
        self.data = bytearray()
        self.transport = None
        self.lost_with = "not lost"
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        assert type(data) is bytes
        self.data += data
        self.note("data_received", data)

    def eof_received(self):
        return self.note("eof_received")

    def pause_writing(self):
        self.note("pause_writing")

    def resume_writing(self):
        self.note("resume_writing")

    def connection_lost(self, exc):
        self.lost_with = exc
        if not self.lost.done():
            self.lost.set_result(None)
        self.note("connection_lost", exc)

    def until_data(self, size):
        return eventually(lambda: len(self.data) >= size)

    def until_called(self, name):
        return eventually(lambda: name in self.calls)


class Buffered(asyncio.BufferedProtocol):
    """Receives into *buffer*; `lost` has what the connection ended with."""

    def __init__(self, buffer):
        self.buffer = buffer
        self.data = bytearray()
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        self.data += self.buffer[:nbytes]

    def connection_lost(self, exc):
        self.lost.set_result(exc)


class Datagrams(Noting, asyncio.DatagramProtocol):
    """Notes every callback, and keeps datagrams and errors."""

    def __init__(self, **hooks):
        super().__init__(**hooks)
        self.received = []
        self.errors = []

    def datagram_received(self, data, address):
        self.received.append((data, address))
        self.note("datagram_received", data, address)

    def error_received(self, exc):
        self.errors.append(exc)
        self.note("error_received", exc)

    def pause_writing(self):
        self.note("pause_writing")

    def resume_writing(self):
        self.note("resume_writing")

    def connection_lost(self, exc):
        self.lost_with = exc
        self.note("connection_lost", exc)

    def until_called(self, name, count=1):
        return eventually(lambda: self.calls.count(name) >= count)


def hooked(**hooks):
    """A protocol factory whose callbacks also do something."""
    return lambda: Recorder(**hooks)


def raising(exc=Boom):
    """A callback that raises, whatever it is called with."""

    def callback(*args):
        raise exc("on purpose")

    return callback


def raising_once(exc=Boom):
    """A callback that raises the first time only."""
    left = [exc("on purpose")]

    def callback(*args):
        if left:
            raise left.pop()

    return callback


def child_command(loop_kind, source):
    """The command that runs `source` in a fresh interpreter with `new_event_loop` defined."""
    prelude = f"import asyncio\nfrom {loop_kind} import new_event_loop\n"
    return [sys.executable, "-c", prelude + textwrap.dedent(source)]


def run_child(loop_kind, source, **options):
    """Run a script in a child interpreter and return the completed process."""
    return subprocess.run(
        child_command(loop_kind, source), capture_output=True, text=True, timeout=25, **options
    )


def is_asleep(pid):
    """Whether a process waits in the kernel (proc_pid_stat(5))."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "S"


def interrupt_child(command, signum=signal.SIGINT, **options):
    """Start a script that prints a line and goes idle, signal it, and return (status, stderr).

    It is signalled when it sleeps: asyncio would sleep on through a signal that comes between its
    last look and its wait.
    """
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    ) as child:
        try:
            child.stdout.readline()
            while not is_asleep(child.pid):
                time.sleep(0.01)
            child.send_signal(signum)
            _, stderr = child.communicate(timeout=15)
        except BaseException:
            child.kill()
            raise
    return child.returncode, stderr
