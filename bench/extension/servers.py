"""The service that is measured, in Python and in Rust: ``servers.py KIND FACTORY FD``.

``GET /`` has a fixed answer, ``GET /users/{name}`` one that a Python function makes. FD is a
listening socket. The server runs until it is killed.
"""

import asyncio
import importlib
import socket
import sys
from collections.abc import Callable
from typing import Any

from httptools import HttpRequestParser

FIXED = b"Hello, world!\n"


def greet(name: str) -> str:
    return f"Hello, {name}!\n"


class PythonService(asyncio.Protocol):
    """The protocol in Python, around the parser in C that Python's servers use."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.url = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_message_complete(self) -> None:
        path = self.url.partition(b"?")[0].decode()
        method = self.parser.get_method()
        if method == b"GET" and path == "/":
            self.answer(200, b"OK", FIXED)
        elif method == b"GET" and path.startswith("/users/"):
            self.answer(200, b"OK", greet(path[len("/users/") :]).encode())
        else:
            self.answer(404, b"Not Found", b"404 Not Found\n")

    def answer(self, status: int, reason: bytes, body: bytes) -> None:
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: text/plain; charset=utf-8\r\n"
            b"content-length: %d\r\n\r\n%b" % (status, reason, len(body), body)
        )


def rust_service() -> Any:
    rust_extension = importlib.import_module("rust_extension")
    router = rust_extension.Router()
    router.fixed("/", FIXED)
    router.route("GET", "/users/{name}", lambda request: greet(request.params["name"]))
    return router


async def serve(factory: Callable[[], Any], listener: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(factory, sock=listener)
    await server.serve_forever()


def main() -> None:
    kind, loop_factory, fd = sys.argv[1:]
    factory = rust_service() if kind == "rust" else PythonService
    module, _, name = loop_factory.partition(":")
    loop = getattr(importlib.import_module(module), name)()
    loop.run_until_complete(serve(factory, socket.socket(fileno=int(fd))))


if __name__ == "__main__":
    main()
