"""A small HTTP service: a raw ASGI application under uvicorn.

It sells spare parts from memory: a JSON endpoint, an echo, a plain text page and one that names the
event loop it runs on. An ordinary asyncio program: `asyncio.run` decides about the loop.

    python examples/http_service.py --port 8000
    curl http://127.0.0.1:8000/parts/7
"""

import argparse
import asyncio
import contextlib
import json
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = tuple[int, str, bytes]  # status, content type, body

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
PARTS = {
    number: {
        "id": number,
        "name": f"part {number}",
        "stock": number * 7 % 50,
        "tags": ["new", "steel"],
    }
    for number in range(100)
}


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answer one request, the way ASGI asks for it."""
    status, content_type, body = await route(scope["method"], scope["path"], receive)
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def route(method: str, path: str, receive: Receive) -> Answer:
    match method, path.split("/"):
        case "GET", ["", "hello"]:
            return 200, TEXT, b"Hello from the parts shop!\n"
        case "GET", ["", "parts", number]:
            return part(number)
        case "POST", ["", "echo"]:
            return 200, "application/octet-stream", await read_body(receive)
        case "GET", ["", "loop"]:
            return 200, TEXT, type(asyncio.get_running_loop()).__module__.encode()
    return 404, TEXT, b"There is nothing here.\n"


def part(number: str) -> Answer:
    found = PARTS.get(int(number)) if number.isdecimal() else None
    if found is None:
        return 404, JSON, json.dumps({"error": f"no part {number}"}).encode()
    return 200, JSON, json.dumps(found).encode()


async def read_body(receive: Receive) -> bytes:
    chunks = []
    more = True
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)


class Service(uvicorn.Server):
    """uvicorn, saying when it listens and ending with status 0 when a signal asks it to stop."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        print("ready", port, flush=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description="A small HTTP service.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 picks a free one")
    args = parser.parse_args()
    config = uvicorn.Config(
        app,
        host=args.host,
        port=args.port,
        http="httptools",
        lifespan="off",
        log_level="warning",
        access_log=False,
    )
    asyncio.run(Service(config).serve())


if __name__ == "__main__":
    main()
