"""Programs that know uvloop by its name, on the stand-in: each says whose loop it runs on."""

import asyncio

import anyio
from harness import WHOSE, free_port, get, main, output_of, oxloop, program, written

ASGI = f"""
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({{"type": message["type"] + ".complete"}})
            if message["type"] == "lifespan.shutdown":
                return
    whose = {WHOSE}
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": whose.encode()}})
"""
SANIC = f"""
from sanic import Sanic
from sanic.response import text

app = Sanic("whose")
app.config.USE_UVLOOP = True

@app.get("/")
async def root(request):
    return text({WHOSE})
"""
AIOHTTP = f"""
from aiohttp import web

async def root(request):
    return web.Response(text={WHOSE})

app = web.Application()
app.add_routes([web.get("/", root)])
"""
TASKIQ = """
import asyncio, pathlib, sys
from taskiq import InMemoryBroker, TaskiqEvents

broker = InMemoryBroker()

@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def started(state):
    whose = type(asyncio.get_running_loop()).__module__.split(".")[0]
    pathlib.Path("whose.txt").write_text(whose)
"""


def serve(source, *words, children=True):
    """Start the program with the stand-in and ask it for its page."""
    with written(app=source) as folder:
        port = free_port()
        before = ("-m", "oxloop", "--as-uvloop", *(["--children"] if children else []))
        command = [word.format(port=port) for word in words]
        with program(*command, port=port, folder=folder, before=before):
            assert get(f"http://127.0.0.1:{port}/") == "oxloop"


def check_uvicorn():
    serve(ASGI, "-m", "uvicorn", "app:app", "--port", "{port}", "--loop", "uvloop")


def check_gunicorn_asgi():
    words = ("-m", "gunicorn", "app:app", "-k", "asgi", "--asgi-loop", "uvloop")
    serve(ASGI, *words, "-b", "127.0.0.1:{port}", children=False)


def check_gunicorn_with_aiohttps_uvloop_worker():
    words = ("-m", "gunicorn", "app:app", "-k", "aiohttp.GunicornUVLoopWebWorker")
    serve(AIOHTTP, *words, "-b", "127.0.0.1:{port}", children=False)


def check_hypercorn():
    words = ("-m", "hypercorn", "app:app", "-k", "uvloop", "-w", "1")
    serve(ASGI, *words, "-b", "127.0.0.1:{port}")


def check_granian():
    words = ("-m", "granian", "--interface", "asgi", "--loop", "uvloop", "--port", "{port}")
    serve(ASGI, *words, "app:app")


def check_sanic():
    words = ("-m", "sanic", "app:app", "--port", "{port}", "--workers", "1")
    serve(SANIC, *words)


def check_anyio():
    oxloop.as_uvloop()

    async def whose():
        assert type(asyncio.get_running_loop()) is oxloop.EventLoop

    anyio.run(whose, backend_options={"use_uvloop": True})


def check_aiohttps_pytest_plugin():
    tests = f"""
async def test_loop(loop):
    assert {WHOSE} == "oxloop"
"""
    with written(test_loop=tests) as folder:
        words = ("-m", "pytest", "-q", "-p", "aiohttp.pytest_plugin", "-W", "ignore")
        before = ("-m", "oxloop", "--as-uvloop")
        printed = output_of(*words, "--aiohttp-loop", "uvloop", before=before, folder=folder)
        assert "1 passed" in printed


def check_taskiq():
    import pathlib
    import time

    with written(tasks=TASKIQ) as folder:
        before = ("-m", "oxloop", "--as-uvloop", "--children")
        words = ("-m", "taskiq", "worker", "tasks:broker", "-w", "1")
        with program(*words, folder=folder, before=before) as child:
            answer = pathlib.Path(folder, "whose.txt")
            while child.poll() is None and not answer.exists():
                time.sleep(0.1)
            assert answer.read_text() == "oxloop"


if __name__ == "__main__":
    main(globals())
