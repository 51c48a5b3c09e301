"""Clients for a server. Run by run.py: ``load.py PORT PID SCENARIO SECONDS``.

network.py says what a scenario's clients send. Every connection has one request in flight. The
answers are checked and counted. How much CPU the server (process PID) uses meanwhile is read from
that process's CPU clock: the kernel's figure, for all threads.
"""

import json
import selectors
import socket
import ssl
import sys
import time

from child import limit_lifetime
from network import SCENARIOS, Scenario

WARM_UP = 0.1
#: Seconds without any answer after which the server counts as stuck.
PATIENCE = 5
BULK = 1 << 20
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
HELLO = b"Hello, world!"


class Client:
    """A connection with one request in flight."""

    def __init__(self, port: int, scenario: Scenario) -> None:
        line = (bytes(range(33, 127)) * scenario.request)[: scenario.request // scenario.lines - 1]
        self.operations = scenario.lines
        self.message = (line + b"\n") * scenario.lines
        self.sock = connect(port, scenario.talk)
        #: The end of an answer; all of it, but for a page, which has the date.
        self.end = b"x" * scenario.answer or self.message
        length = len(self.end)
        if scenario.talk == "http":
            self.message, self.end = GET, HELLO
            length = self.length_of_first_answer()
        self.buffer = bytearray(length)
        self.view = memoryview(self.buffer)
        self.got = 0
        self.sock.sendall(self.message)

    def length_of_first_answer(self) -> int:
        self.sock.sendall(self.message)
        answer = b""
        while not answer.endswith(HELLO):
            if not (data := self.sock.recv(65536)):
                raise ConnectionError("the server closed a connection")
            answer += data
        return len(answer)

    def receive(self) -> float:
        """Take what has come: its operations when it completes the answer; the next one follows."""
        count = self.sock.recv_into(self.view[self.got :])
        if not count:
            raise ConnectionError("the server closed a connection")
        self.got += count
        if self.got < len(self.buffer):
            return 0
        if not self.buffer.endswith(self.end):
            raise ValueError("the server sent something else than was expected")
        self.got = 0
        self.sock.sendall(self.message)
        return self.operations


class Sink:
    """A connection that asks once and takes what comes; an operation is a MiB."""

    def __init__(self, port: int, scenario: Scenario) -> None:
        self.sock = connect(port, scenario.talk)
        self.buffer = bytearray(BULK)
        self.sock.sendall(b"x" * scenario.request)

    def receive(self) -> float:
        count = self.sock.recv_into(self.buffer)
        if not count:
            raise ConnectionError("the server closed a connection")
        return count / BULK


def connect(port: int, talk: str) -> socket.socket:
    if talk == "udp":
        sock = socket.socket(type=socket.SOCK_DGRAM)
        sock.connect(("127.0.0.1", port))
        return sock
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    # With a timeout every call would poll first.
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if talk == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(sock)
    return sock


def run_for(seconds: float, selector: selectors.BaseSelector) -> float:
    """Operations answered in so many seconds."""
    answers = 0.0
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
    port, pid, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    seconds = float(sys.argv[4])
    limit_lifetime(seconds)
    scenario = SCENARIOS[name]
    kind = Sink if scenario.talk == "bulk" else Client
    selector = selectors.DefaultSelector()
    for _ in range(scenario.connections):
        client = kind(port, scenario)
        selector.register(client.sock, selectors.EVENT_READ, client.receive)
    run_for(WARM_UP, selector)
    before = cpu_of(pid)
    operations = run_for(seconds, selector)
    print(json.dumps({"operations": operations, "cpu": cpu_of(pid) - before}))


if __name__ == "__main__":
    main()
