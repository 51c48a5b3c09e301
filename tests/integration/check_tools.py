"""grpc.aio, asyncssh, aiofiles, anyio, tornado, pytest-asyncio, and a tool that drives children."""

import asyncio
import sys
import tempfile
from pathlib import Path

import aiofiles
import anyio
import asyncssh
import grpc
import tornado.httpclient
import tornado.httpserver
import tornado.ioloop
import tornado.web
from harness import assert_oxloop, main, output_of, oxloop, written


class Shouting(grpc.GenericRpcHandler):
    """Without generated code: bytes in, bytes out."""

    def service(self, details):
        if details.method.endswith("One"):
            return grpc.unary_unary_rpc_method_handler(self.one)
        return grpc.stream_stream_rpc_method_handler(self.many)

    async def one(self, request, context):
        assert_oxloop()
        return request.upper()

    async def many(self, requests, context):
        async for request in requests:
            yield request.upper()


async def grpc_talk():
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Shouting(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        one = channel.unary_unary("/test.Shouting/One")
        answers = await asyncio.gather(*(one(b"message %d" % number) for number in range(500)))
        assert answers == [b"MESSAGE %d" % number for number in range(500)]
        many = channel.stream_stream("/test.Shouting/Many")

        async def messages():
            for number in range(500):
                yield b"message %d" % number

        heard = [answer async for answer in many(messages())]
        assert heard == answers
    await server.stop(None)


def check_grpc():
    oxloop.install()
    oxloop.run(grpc_talk())


async def check_asyncssh():
    async def shout(process):
        async for line in process.stdin:
            process.stdout.write(line.upper())
        process.exit(3)

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username):
            return False

    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.create_server(
        Server, "127.0.0.1", 0, server_host_keys=[key], process_factory=shout, sftp_factory=True
    )
    port = server.sockets[0].getsockname()[1]
    async with asyncssh.connect(
        "127.0.0.1", port, known_hosts=None, username="guest", client_keys=None
    ) as connection:
        text = "".join(f"line {number}\n" for number in range(5000))
        done = await connection.run("shout", input=text)
        assert (done.stdout, done.exit_status) == (text.upper(), 3)
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "source"), Path(folder, "target")
            source.write_bytes(bytes(range(256)) * 8000)
            async with connection.start_sftp_client() as sftp:
                await sftp.put(str(source), str(target))
            assert target.read_bytes() == source.read_bytes()
    server.close()
    await server.wait_closed()


async def check_aiofiles():
    with tempfile.TemporaryDirectory() as folder:

        async def one(number):
            path = Path(folder, str(number))
            async with aiofiles.open(path, "w") as file:
                await file.write(f"{number}\n" * 1000)
            async with aiofiles.open(path) as file:
                return [line async for line in file]

        texts = await asyncio.gather(*(one(number) for number in range(50)))
        assert texts == [[f"{number}\n"] * 1000 for number in range(50)]


def check_anyio_with_a_loop_factory():
    async def echo(stream):
        async with stream:
            async for data in stream:
                await stream.send(data.upper())

    async def talk():
        assert_oxloop()
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            async with anyio.create_task_group() as group:
                group.start_soon(listener.serve, echo)
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    await stream.send(b"hello")
                    assert await stream.receive() == b"HELLO"
                done = await anyio.run_process([sys.executable, "-c", "print(input())"], input=b"x")
                assert done.stdout == b"x\n"
                group.cancel_scope.cancel()

    anyio.run(talk, backend_options={"loop_factory": oxloop.new_event_loop})


def check_tornado():
    class Root(tornado.web.RequestHandler):
        def get(self):
            assert_oxloop()
            self.write("x" * 100_000)

    async def talk():
        server = tornado.web.Application([("/", Root)]).listen(0, "127.0.0.1")
        port = next(iter(server._sockets.values())).getsockname()[1]
        client = tornado.httpclient.AsyncHTTPClient()
        answers = await asyncio.gather(
            *(client.fetch(f"http://127.0.0.1:{port}/") for _ in range(50))
        )
        assert all(answer.body == b"x" * 100_000 for answer in answers)
        server.stop()

    oxloop.run(talk())


def check_pytest_asyncio_by_its_hook():
    conftest = """
import oxloop

def pytest_asyncio_loop_factories(config, item):
    return {"oxloop": oxloop.new_event_loop}
"""
    tests = """
import asyncio, pytest, oxloop

@pytest.mark.asyncio
async def test_loop():
    assert type(asyncio.get_running_loop()) is oxloop.EventLoop
"""
    with written(conftest=conftest, test_loop=tests) as folder:
        words = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
        assert "1 passed" in output_of(*words, before=(), folder=folder)


async def check_many_children():
    """As a browser driver or a build tool does it: long talks with many children at once."""
    source = "import sys\nfor line in sys.stdin: print(line.strip().upper(), flush=True)"

    async def talk(number):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", source, stdin=-1, stdout=-1, stderr=-1
        )
        for turn in range(50):
            child.stdin.write(b"message %d of %d\n" % (turn, number))
            assert await child.stdout.readline() == b"MESSAGE %d OF %d\n" % (turn, number)
        child.stdin.close()
        assert await child.stdout.read() == b""
        return await child.wait()

    assert await asyncio.gather(*(talk(number) for number in range(20))) == [0] * 20


if __name__ == "__main__":
    main(globals())
