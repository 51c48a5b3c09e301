"""Clients for an echo server. Run by run.py: ``load.py PORT PID CONNECTIONS SIZE LINES SECONDS``.

Every connection has one message in flight: SIZE bytes, cut into LINES lines. The answers are
checked and counted. How much CPU the server (process PID) uses meanwhile is read from that
process's CPU clock: the kernel's figure, for all threads.
"""

import json
import selectors
import socket
import sys
import time

from child import limit_lifetime

WARM_UP = 0.1
#: Seconds without any answer after which the server counts as stuck.
PATIENCE = 5


class Client:
    """A connection with one message in flight."""

    def __init__(self, port: int, message: bytes) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        # With a timeout every call would poll first.
        self.sock.settimeout(None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.message = message
        self.buffer = bytearray(len(message))
        self.view = memoryview(self.buffer)
        self.got = 0

    def receive(self) -> int:
        """Take what has come; 1 when it completes the answer, which the next message follows."""
        count = self.sock.recv_into(self.view[self.got :])
        if not count:
            raise ConnectionError("the server closed a connection")
        self.got += count
        if self.got < len(self.message):
            return 0
        if self.buffer != self.message:
            raise ValueError("the server sent something else than it got")
        self.got = 0
        self.sock.sendall(self.message)
        return 1


def run_for(seconds: float, selector: selectors.BaseSelector) -> int:
    """Answers received in so many seconds."""
    answers = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ready = selector.select(PATIENCE)
        if not ready:
            raise TimeoutError(f"the server has not answered for {PATIENCE} s")
        for key, _ in ready:
            answers += key.data()
    return answers


def cpu_of(pid: int) -> float:
    """CPU seconds of a process, by the clock that clock_getcpuclockid(3) has on Linux."""
    return time.clock_gettime((~pid << 3) | 2)


def main() -> None:
    port, pid, connections, size, lines = map(int, sys.argv[1:6])
    seconds = float(sys.argv[6])
    limit_lifetime(seconds)
    line = (bytes(range(33, 127)) * size)[: size // lines - 1] + b"\n"
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        client = Client(port, line * lines)
        selector.register(client.sock, selectors.EVENT_READ, client.receive)
        client.sock.sendall(client.message)
    run_for(WARM_UP, selector)
    before = cpu_of(pid)
    answers = run_for(seconds, selector)
    print(json.dumps({"operations": answers * lines, "cpu": cpu_of(pid) - before}))


if __name__ == "__main__":
    main()
