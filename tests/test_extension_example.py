"""examples/rust_extension: the HTTP server and the Redis client in Rust."""

import asyncio
import gc
import socket
import weakref

import pytest
from extension_support import built
from support import Boom, eventually, recv_all, spin

example = built("rust_extension")
pytestmark = pytest.mark.oxloop_only


@pytest.fixture
def talk(loop, run):
    """Send bytes to a router and get what comes back until the connection ends."""

    async def conversation(router, pieces):
        server = await loop.create_server(router, "127.0.0.1", 0)
        peer = socket.socket()
        peer.setblocking(False)
        await loop.sock_connect(peer, server.sockets[0].getsockname())
        for piece in pieces:
            await loop.sock_sendall(peer, piece)
            await asyncio.sleep(0.001 if len(pieces) > 1 else 0)
        answer = await asyncio.wait_for(recv_all(loop, peer), 10)
        peer.close()
        server.close()
        await server.wait_closed()
        return answer

    yield lambda router, *pieces: run(conversation(router, pieces))
    spin(loop)


def get(path, *headers, method="GET", body=b"", version="1.1"):
    lines = [f"{method} {path} HTTP/{version}", "Host: test", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def answers(data):
    """Statuses and bodies."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ") for line in lines)
        length = int(headers["content-length"])
        found.append((int(status.split()[1]), data[:length]))
        data = data[length:]
    return found


@pytest.fixture
def router():
    router = example.Router()
    router.fixed("/", b"hello\n")
    return router


CLOSE = "Connection: close"


def test_a_fixed_answer(talk, router):
    data = talk(router, get("/", CLOSE))
    assert data == (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 6\r\n"
        b"connection: close\r\n\r\nhello\n"
    )


def test_a_request_that_its_handler_keeps_is_collected_with_it(talk):
    class Service:
        def __init__(self):
            self.router = example.Router()
            self.router.route("GET", "/{name}", self.handle)

        def handle(self, request):
            self.kept = request
            return "kept"

    service = Service()
    assert answers(talk(service.router, get("/ada", CLOSE)))[0][1] == b"kept"
    assert service.kept.params == {"name": "ada"}
    gone = weakref.ref(service)
    del service
    gc.collect()
    assert gone() is None


def test_handlers_survive_collections_while_requests_and_connections_refer_to_them(talk):
    router = example.Router()
    kept = []

    def handle(request):
        kept.append(request)
        gc.collect()
        return request.params["name"]

    router.route("GET", "/{name}", handle)
    del handle
    data = talk(router, get("/a") + get("/b") + get("/c", CLOSE))
    assert [body for _, body in answers(data)] == [b"a", b"b", b"c"]
    gc.collect()
    assert [request.params["name"] for request in kept] == ["a", "b", "c"]


def test_a_pipeline_in_pieces(talk, router):
    requests = get("/") * 3 + get("/nothing") + get("/", method="POST", body=b"x") + get("/", CLOSE)
    expected = [(200, b"hello\n")] * 3 + [
        (404, b"404 Not Found\n"),
        (405, b"405 Method Not Allowed\n"),
        (200, b"hello\n"),
    ]
    assert answers(talk(router, requests)) == expected
    pieces = [requests[start : start + 37] for start in range(0, len(requests), 37)]
    assert answers(talk(router, *pieces)) == expected


def test_handlers(talk, router):
    seen = []

    def handler(request):
        seen.append(request)
        return 201, f"hello {request.params['name']}"

    router.route("post", "/users/{name}/greet", handler)
    request = get("/users/ada/greet?loud=1", "X-Test: yes", CLOSE, method="POST", body=b"data")
    assert answers(talk(router, request)) == [(201, b"hello ada")]
    (request,) = seen
    assert (request.method, request.path, request.query) == ("POST", "/users/ada/greet", "loud=1")
    assert (request.headers["x-test"], request.body) == ("yes", b"data")


def test_async_handlers_keep_the_order(talk, router):
    async def slow(request):
        await asyncio.sleep(0.01)
        return b"slow"

    router.route("GET", "/slow", slow)
    requests = get("/slow") + get("/") + get("/slow") + get("/", CLOSE)
    bodies = [body for _, body in answers(talk(router, requests))]
    assert bodies == [b"slow", b"hello\n", b"slow", b"hello\n"]


@pytest.mark.parametrize("wrong", ["raise", "raise later", "type", "status"])
def test_handlers_that_fail(talk, router, errors, wrong):
    def fail(request):
        if wrong == "raise":
            raise Boom("on purpose")
        return {"type": 5, "status": (99, b"")}.get(wrong) or later()

    async def later():
        raise Boom("on purpose")

    router.route("GET", "/fail", fail)
    data = talk(router, get("/fail") + get("/", CLOSE))
    assert answers(data) == [(500, b"500 Internal Server Error\n"), (200, b"hello\n")]
    (context,) = errors.take()
    assert context["message"] == "a handler of HTTP requests failed"


@pytest.mark.parametrize(
    "request_, status",
    [
        (b"nonsense\r\n\r\n", 400),
        (get("/", "Content-Length: -1"), 400),
        (get("/", "Content-Length: 1", "Content-Length: 2"), 400),
        (get("/", "Content-Length: +1"), 400),
        (get("/", "Content-Length: 99999999999"), 413),
        (get("/", "Transfer-Encoding: chunked"), 501),
        (get("/", *(f"X-{number}: 1" for number in range(200))), 431),
        (b"GET /" + b"x" * (1 << 16), 431),
    ],
)
def test_bad_requests(talk, router, request_, status):
    ((answered, _),) = answers(talk(router, request_))
    assert answered == status


def test_http_1_0_closes(talk, router):
    assert answers(talk(router, get("/", version="1.0") + get("/"))) == [(200, b"hello\n")]


def test_a_client_that_does_not_read(loop, run, router):
    router.fixed("/large", b"x" * (1 << 18))

    async def main():
        server = await loop.create_server(router, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(get("/large") * 40 + get("/", CLOSE))
        await asyncio.sleep(0.05)
        data = await reader.read()
        assert [status for status, _ in answers(data)] == [200] * 41
        writer.close()
        server.close()

    run(main())
    spin(loop)


def test_a_client_that_leaves_cancels_its_handler(loop, run, router):
    ended = []

    async def wait(request):
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("ended")

    router.route("GET", "/wait", wait)

    async def main():
        server = await loop.create_server(router, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(get("/wait"))
        await asyncio.sleep(0.01)
        writer.transport.abort()
        await eventually(lambda: ended)
        server.close()

    run(main())
    spin(loop)


# -- Redis -----------------------------------------------------------------------------------


@pytest.fixture
def redis(loop, run):
    """Connect a client to a server that answers with given bytes: `client, received`."""
    kept = []

    def redis(answer, piece=1 << 20):
        received = bytearray()

        async def serve(reader, writer):
            while data := await reader.read(65536):
                received.extend(data)
                for start in range(0, len(answer), piece):
                    writer.write(answer[start : start + piece])
                    await writer.drain()
                    await asyncio.sleep(0)
            writer.close()

        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            client = await example.connect(*server.sockets[0].getsockname())
            kept.append((server, client))
            return client

        return run(main()), received

    yield redis
    for server, client in kept:
        client.close()
        run(eventually(client.is_closed))
        server.close()
    spin(loop)


def ask(run, client, *words):
    async def main():
        return await client.command(*words)

    return run(main())


@pytest.mark.parametrize("piece", [1, 3, 1 << 20])
@pytest.mark.parametrize(
    "answer, value",
    [
        (b"+OK\r\n", b"OK"),
        (b":-5\r\n", -5),
        (
            b"(1234567890123456789012345678901234567890\r\n",
            1234567890123456789012345678901234567890,
        ),
        (b"$5\r\nhe\r\no\r\n", b"he\r\no"),
        (b"$0\r\n\r\n", b""),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"_\r\n", None),
        (b"#t\r\n", True),
        (b"#f\r\n", False),
        (b",1.5\r\n", 1.5),
        (b",inf\r\n", float("inf")),
        (b"=8\r\ntxt:text\r\n", b"text"),
        (b"*0\r\n", []),
        (b"*2\r\n*1\r\n:1\r\n$1\r\nx\r\n", [[1], b"x"]),
        (b"~1\r\n:1\r\n", [1]),
        (b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n", {b"a": 1, b"b": [2]}),
        (b">2\r\n+news\r\n:1\r\n+OK\r\n", b"OK"),
    ],
)
def test_answers_of_every_kind(run, redis, answer, value, piece):
    client, _ = redis(answer, piece)
    found = ask(run, client, "GET", "key")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("answer", [b"-ERR no\r\n", b"!6\r\nERR no\r\n"])
def test_refusals(run, redis, answer):
    client, _ = redis(answer)
    with pytest.raises(example.RedisError, match="ERR no"):
        ask(run, client, "NONSENSE")
    assert not client.is_closed()


def test_a_refusal_in_a_list(run, redis):
    client, _ = redis(b"*2\r\n:1\r\n-ERR no\r\n")
    one, refusal = ask(run, client, "EXEC")
    assert one == 1
    assert isinstance(refusal, example.RedisError)


def test_commands(run, redis):
    client, received = redis(b"+OK\r\n")
    ask(run, client, "SET", b"\x00key", 5, 1.5, "wört")
    assert received == (
        b"*5\r\n$3\r\nSET\r\n$4\r\n\x00key\r\n$1\r\n5\r\n$3\r\n1.5\r\n$5\r\nw\xc3\xb6rt\r\n"
    )
    with pytest.raises(TypeError):
        ask(run, client)
    with pytest.raises(TypeError):
        ask(run, client, "SET", None)


def test_a_pipeline_of_commands(run, redis):
    client, _ = redis(b"".join(b":%d\r\n" % number for number in range(100)), 7)

    async def main():
        commands = [client.command("INCR", "key") for _ in range(100)]
        return [await command for command in commands]

    assert run(main()) == list(range(100))


def test_a_cancelled_command_keeps_its_place(run, redis):
    client, _ = redis(b":1\r\n:2\r\n:3\r\n")

    async def main():
        first, second, third = (asyncio.create_task(client.command("INCR", "k")) for _ in range(3))
        await asyncio.sleep(0)
        second.cancel()
        return await asyncio.gather(first, second, third, return_exceptions=True)

    one, cancelled, three = run(main())
    assert (one, three) == (1, 3)
    assert isinstance(cancelled, asyncio.CancelledError)


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n",
        b"$x\r\n",
        b"$-2\r\n",
        b"*1\r\n" * 100 + b":1\r\n",
        b"+" + b"x" * (1 << 17),
        b"+a\rb",
    ],
)
def test_bad_answers_end_the_connection(run, redis, errors, answer):
    client, _ = redis(answer)
    with pytest.raises(ConnectionError):
        ask(run, client, "GET", "key")
    run(eventually(client.is_closed))
    for context in errors.take():
        assert isinstance(context["exception"], ConnectionError)
    with pytest.raises(ConnectionError):
        ask(run, client, "GET", "key")


def test_closing_fails_what_waits(run, redis):
    client, _ = redis(b"")

    async def main():
        waiting = client.command("BLPOP", "key", 0)
        client.close()
        with pytest.raises(ConnectionError, match="lost"):
            await waiting

    run(main())


def test_nobody_listens(run):
    async def main():
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        with sock, pytest.raises(ConnectionRefusedError):
            await example.connect(*sock.getsockname())

    run(main())
