"""Keep-alive clients of `http_service.py`: one request in flight on each of 32 connections.

Each connection goes through a round of requests of its own, so an answer that reaches the wrong
client, comes twice or comes late is noticed like any other wrong byte.
"""

import contextlib
import http.client
import json
import selectors
import socket
import time

from load.meter import HOST, PATIENCE, Mismatch, main

CONNECTIONS = 32
Exchange = tuple[bytes, bytes]  # the request, the body of its answer


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def exchanges(number: int) -> list[Exchange]:
    """What client `number` asks, again and again."""
    stock = number * 7 % 50
    part = {"id": number, "name": f"part {number}", "stock": stock, "tags": ["new", "steel"]}
    short = f"client {number} ".encode() * 4
    long = f"order of client {number}\n".encode() * 100
    return [
        (get(f"/parts/{number}"), json.dumps(part).encode()),
        (post("/echo", short), short),
        (get("/hello"), b"Hello from the parts shop!\n"),
        (post("/echo", long), long),
    ]


class Client:
    """One connection with at most one request in flight."""

    def __init__(self, port: int, script: list[Exchange]) -> None:
        self.sock = socket.create_connection((HOST, port), PATIENCE)
        self.script = script
        self.step = 0
        self.received = b""

    def ask(self) -> None:
        self.sock.sendall(self.script[self.step][0])

    def answered(self) -> bool:
        """Take in what has arrived; True when the answer is complete and right."""
        data = self.sock.recv(65536)
        if not data:
            raise Mismatch("the server closed a connection that should stay open")
        self.received += data
        request, expected = self.script[self.step]
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator or (len(body) < len(expected) and expected.startswith(body)):
            return False
        self.check(request, expected, head, body)
        self.received = b""
        self.step = (self.step + 1) % len(self.script)
        return True

    def check(self, request: bytes, expected: bytes, head: bytes, body: bytes) -> None:
        asked = request.partition(b"\r\n")[0].decode()
        if not head.startswith(b"HTTP/1.1 200 OK\r\n"):
            raise Mismatch(f"{asked} was answered by {head[:40]!r}")
        if b"\r\ncontent-length: %d\r\n" % len(expected) not in head.lower() + b"\r\n":
            raise Mismatch(f"{asked}: wrong or no content-length in {head!r}")
        if body != expected:
            raise Mismatch(f"{asked}: expected the body {expected[:60]!r}, got {body[:60]!r}")


class HttpLoad:
    """All clients, served by one selector."""

    def __init__(self, port: int) -> None:
        self.loop = ask_loop(port)
        self.selector = selectors.DefaultSelector()
        self.clients = [Client(port, exchanges(number)) for number in range(CONNECTIONS)]
        for client in self.clients:
            self.selector.register(client.sock, selectors.EVENT_READ, client)

    def run(self, seconds: float) -> int:
        answers = 0
        in_flight = len(self.clients)
        deadline = time.perf_counter() + seconds
        for client in self.clients:
            client.ask()
        while in_flight:
            events = self.selector.select(PATIENCE)
            if not events:
                raise Mismatch(f"{in_flight} requests without an answer for {PATIENCE} s")
            more = time.perf_counter() < deadline
            for key, _ in events:
                if key.data.answered():
                    answers += 1
                    if more:
                        key.data.ask()
                    else:
                        in_flight -= 1
        return answers

    def finish(self) -> None:
        """Nothing may be left unread; then hang up."""
        if self.selector.select(0):
            raise Mismatch("bytes arrived that nobody had asked for")
        for client in self.clients:
            client.sock.close()
        self.selector.close()


def ask_loop(port: int) -> str:
    """The module of the loop that serves the requests.

    The client hangs up first: a plain asyncio server that never saw the end of a connection can
    spend twice the time on each read (an oddity of glibc's allocator), which no service does long.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", "/loop")
        answer = connection.getresponse()
        body = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise Mismatch(f"GET /loop was answered by status {answer.status}: {body[:60]!r}")
    return body.decode()


if __name__ == "__main__":
    main(HttpLoad)
