"""uvicorn with FastAPI: HTTP/1.1, WebSocket, TLS, lifespan, workers; and behind gunicorn."""

import asyncio
import collections
import json
import signal
import ssl

import websockets
from harness import CERTIFICATE, free_port, get, main, program, written

APP = """
import asyncio, contextlib, os
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse

STATE = []

@contextlib.asynccontextmanager
async def lifespan(app):
    STATE.append("started")
    yield
    print("lifespan ended", flush=True)

app = FastAPI(lifespan=lifespan)

@app.get("/")
async def root():
    loop = type(asyncio.get_running_loop()).__module__.split(".")[0]
    return {"loop": loop, "pid": os.getpid(), "state": STATE}

@app.get("/thread")
def in_a_thread():
    return "thread"

@app.get("/stream")
async def stream():
    async def parts():
        for number in range(100):
            yield f"{number:04}" * 1000
            await asyncio.sleep(0)
    return StreamingResponse(parts())

@app.websocket("/ws")
async def echo(socket: WebSocket):
    await socket.accept()
    async for message in socket.iter_text():
        await socket.send_text(message.upper())
"""
WORKER = """
from uvicorn_worker import UvicornWorker

class Worker(UvicornWorker):
    CONFIG_KWARGS = {"loop": "oxloop:new_event_loop"}
"""


def root(url):
    return json.loads(get(url))


def talk(url, **options):
    async def main():
        async with websockets.connect(url, **options) as socket:
            for number in range(200):
                await socket.send(f"message {number}")
                assert await socket.recv() == f"MESSAGE {number}"
            await socket.send("x" * 500_000)
            assert await socket.recv() == "X" * 500_000

    asyncio.run(main())


def check_http_websocket_and_lifespan():
    with written(app=APP) as folder:
        port = free_port()
        words = ("-m", "uvicorn", "app:app", "--port", str(port))
        with program(*words, port=port, folder=folder) as child:
            page = root(f"http://localhost:{port}/")
            assert (page["loop"], page["state"]) == ("oxloop", ["started"]), page
            assert get(f"http://localhost:{port}/thread") == '"thread"'
            body = get(f"http://localhost:{port}/stream")
            assert body == "".join(f"{number:04}" * 1000 for number in range(100))
            talk(f"ws://localhost:{port}/ws")
            child.send_signal(signal.SIGINT)
            assert child.wait(20) in (0, -signal.SIGINT)


def check_the_loop_by_its_name():
    with written(app=APP) as folder:
        port = free_port()
        words = ("-m", "uvicorn", "app:app", "--port", str(port), "--loop", "oxloop:new_event_loop")
        with program(*words, port=port, folder=folder, before=()):
            assert root(f"http://localhost:{port}/")["loop"] == "oxloop"


def check_tls():
    with written(app=APP) as folder:
        port = free_port()
        words = ("-m", "uvicorn", "app:app", "--port", str(port))
        secret = ("--ssl-certfile", str(CERTIFICATE), "--ssl-keyfile", str(CERTIFICATE))
        with program(*words, *secret, port=port, folder=folder):
            assert root(f"https://localhost:{port}/")["loop"] == "oxloop"
            assert len(get(f"https://localhost:{port}/stream")) == 400_000
            context = ssl.create_default_context(cafile=CERTIFICATE)
            talk(f"wss://localhost:{port}/ws", ssl=context)


def workers(words, folder, port, before, **more):
    with program(*words, port=port, folder=folder, before=before, **more):
        seen = collections.Counter()
        for _ in range(400):
            page = root(f"http://localhost:{port}/")
            assert page["loop"] == "oxloop", page
            seen[page["pid"]] += 1
            if len(seen) == 2:
                return
        raise AssertionError(f"one worker answered: {seen}")


def check_two_workers():
    with written(app=APP) as folder:
        port = free_port()
        words = ("-m", "uvicorn", "app:app", "--port", str(port), "--workers", "2")
        workers(words, folder, port, ("-m", "oxloop", "--children"))


def check_two_workers_by_the_loops_name():
    with written(app=APP) as folder:
        port = free_port()
        words = ("-m", "uvicorn", "app:app", "--port", str(port), "--workers", "2")
        workers((*words, "--loop", "oxloop:new_event_loop"), folder, port, ())


def check_gunicorn_with_a_worker_class():
    with written(app=APP, worker=WORKER) as folder:
        port = free_port()
        words = ("-m", "gunicorn", "app:app", "-k", "worker.Worker", "-w", "2")
        workers((*words, "-b", f"127.0.0.1:{port}"), folder, port, ())


if __name__ == "__main__":
    main(globals())
