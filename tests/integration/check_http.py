"""aiohttp, httpx, websockets and hypercorn, both ends on oxloop in one process or two."""

import asyncio
import pathlib
import socket
import ssl

import aiohttp
import httpx
import websockets
from aiohttp import web
from harness import CERTIFICATE, assert_oxloop, free_port, main, program, written

APP = """
import asyncio
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

async def root(request):
    loop = type(asyncio.get_running_loop()).__module__.split(".")[0]
    version = request.scope["http_version"]
    body = await request.body()
    return PlainTextResponse(f"{loop} {version} {len(body)}")

app = Starlette(routes=[Route("/", root, methods=["GET", "POST"])])
"""


def trusting():
    return ssl.create_default_context(cafile=CERTIFICATE)


def serving():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


async def aiohttp_site(tls):
    async def length(request):
        return web.Response(text=str(len(await request.read())))

    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(200):
            await response.write(bytes([number]) * 5000)
        return response

    async def echo(request):
        answers = web.WebSocketResponse()
        await answers.prepare(request)
        async for message in answers:
            await answers.send_str(message.data.upper())
        return answers

    async def file(request):
        return web.FileResponse(__file__)

    app = web.Application(client_max_size=1 << 24)
    pages = (("/stream", stream), ("/ws", echo), ("/file", file))
    app.add_routes([web.post("/", length), *(web.get(path, page) for path, page in pages)])
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "localhost", port, ssl_context=serving() if tls else None).start()
    return runner, f"{'https' if tls else 'http'}://localhost:{port}"


async def aiohttp_both_ends(tls):
    assert_oxloop()
    runner, url = await aiohttp_site(tls)
    connector = aiohttp.TCPConnector(ssl=trusting() if tls else True)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def post(size):
            async with session.post(url, data=bytes(size)) as answer:
                assert await answer.text() == str(size)

        await asyncio.gather(*(post(size) for size in (0, 1, 1000, 100_000, 5_000_000) * 20))
        async with session.get(f"{url}/stream") as answer:
            body = await answer.read()
        assert body == b"".join(bytes([number]) * 5000 for number in range(200))
        async with session.get(f"{url}/file") as answer:
            assert await answer.read() == pathlib.Path(__file__).read_bytes()
        async with session.ws_connect(f"{url}/ws") as talk:
            for number in range(100):
                await talk.send_str(f"message {number}")
                assert (await talk.receive_str()) == f"MESSAGE {number}"
    async with httpx.AsyncClient(verify=trusting()) as client:
        answers = await asyncio.gather(*(client.post(url, content=bytes(n)) for n in range(50)))
        assert [answer.text for answer in answers] == [str(n) for n in range(50)]
    await runner.cleanup()


async def check_aiohttp_and_httpx():
    await aiohttp_both_ends(tls=False)


async def check_aiohttp_and_httpx_over_tls():
    await aiohttp_both_ends(tls=True)


async def check_websockets():
    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    async with websockets.serve(echo, "localhost", 0, max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with websockets.connect(f"ws://localhost:{port}", max_size=None) as client:
            for size in (0, 10, 70_000, 2_000_000):
                await client.send(bytes(size))
                assert await client.recv() == bytes(size)
            pong = await client.ping()
            await pong


async def check_websockets_over_tls_to_many():
    async def greet(connection):
        await connection.send("hello")
        assert await connection.recv() == "goodbye"

    async with websockets.serve(greet, "localhost", 0, ssl=serving()) as server:
        port = server.sockets[0].getsockname()[1]

        async def visit():
            address = f"wss://localhost:{port}"
            async with websockets.connect(address, ssl=trusting()) as client:
                assert await client.recv() == "hello"
                await client.send("goodbye")

        await asyncio.gather(*(visit() for _ in range(50)))


def hypercorn(*words, before=("-m", "oxloop")):
    port = free_port()
    with written(app=APP) as folder:
        secret = ("--certfile", str(CERTIFICATE), "--keyfile", str(CERTIFICATE))
        command = ("-m", "hypercorn", "app:app", "-b", f"localhost:{port}", *secret, *words)

        async def ask():
            client = httpx.AsyncClient(verify=trusting(), http2=True)
            async with client:
                posts = (
                    client.post(f"https://localhost:{port}/", content=bytes(n * 1000))
                    for n in range(60)
                )
                for number, answer in enumerate(await asyncio.gather(*posts)):
                    assert answer.http_version == "HTTP/2"
                    assert answer.text == f"oxloop 2 {number * 1000}"

        with program(*command, port=port, folder=folder, before=before):
            asyncio.run(ask())


def check_hypercorn_with_http2():
    hypercorn("-w", "0")


def check_hypercorn_with_a_worker_process():
    hypercorn("-w", "1", before=("-m", "oxloop", "--children"))


async def check_one_port_for_several_loops():
    """SO_REUSEPORT: two servers on one port, the kernel shares the connections out."""
    seen = set()

    def serve(name):
        async def answer(reader, writer):
            writer.write(name)
            writer.close()

        return asyncio.start_server(answer, "127.0.0.1", port, reuse_port=True)

    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        servers = [await serve(b"one"), await serve(b"two")]
    for _ in range(200):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        seen.add(await reader.read())
        writer.close()
    for server in servers:
        server.close()
    assert seen == {b"one", b"two"}


if __name__ == "__main__":
    main(globals())
