"""What the parts share: running their checks, programs as child processes, questions to servers."""

import asyncio
import contextlib
import inspect
import os
import pathlib
import signal
import ssl
import subprocess
import sys
import tempfile
import traceback
import urllib.request

from servers import free_port, wait_for_port

import oxloop

CERTIFICATE = pathlib.Path(__file__).parent.parent / "certs" / "localhost.pem"
CHECK_SECONDS = 120
# What a program is asked to prove that oxloop is its loop.
WHOSE = "type(__import__('asyncio').get_running_loop()).__module__.split('.')[0]"


def main(namespace):
    """Run the functions `check_*` in order; a coroutine function runs on oxloop. Exits."""
    failed = 0
    for name, check in list(namespace.items()):
        if not name.startswith("check_"):
            continue
        title = f"{name.removeprefix('check_').replace('_', ' ')}"
        try:
            if inspect.iscoroutinefunction(check):
                oxloop.run(asyncio.wait_for(check(), CHECK_SECONDS))
            else:
                check()
        except Exception:
            failed += 1
            print(f"FAILED {title}\n{traceback.format_exc()}", flush=True)
        else:
            print(f"ok {title}", flush=True)
    sys.exit(1 if failed else 0)


def assert_oxloop():
    assert isinstance(asyncio.get_running_loop(), oxloop.EventLoop)


@contextlib.contextmanager
def program(*words, port=None, folder=None, before=("-m", "oxloop"), **more):
    """`python -m oxloop words …` until the end of the block; waits for its port.

    What it prints is shown if it does not start or the block fails.
    """
    command = [sys.executable, *before, *words]
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(
            command,
            cwd=folder,
            stdout=output,
            stderr=output,
            env={**os.environ, **more},
            start_new_session=True,
        )
        try:
            if port:
                wait_for_port(port, child)
            yield child
        except BaseException:
            output.seek(0)
            print(output.read())
            raise
        finally:
            child.terminate()
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            # Workers that their program has left behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def output_of(*words, before=("-m", "oxloop"), folder=None, **more):
    """What a program prints that ends by itself, with status 0."""
    done = subprocess.run(
        [sys.executable, *before, *words],
        capture_output=True,
        text=True,
        timeout=CHECK_SECONDS,
        cwd=folder,
        env={**os.environ, **more},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def get(url):
    """The body of a page; the test's certificate is trusted."""
    context = ssl.create_default_context(cafile=CERTIFICATE) if url.startswith("https") else None
    with urllib.request.urlopen(url, timeout=20, context=context) as answer:
        return answer.read().decode()


@contextlib.contextmanager
def written(**files):
    """A folder with these files; `app="…"` is app.py."""
    with tempfile.TemporaryDirectory(prefix="oxloop-integration-") as folder:
        for name, text in files.items():
            (pathlib.Path(folder) / f"{name}.py").write_text(text)
        yield folder


__all__ = [
    "CERTIFICATE",
    "WHOSE",
    "assert_oxloop",
    "free_port",
    "get",
    "main",
    "output_of",
    "program",
    "written",
]
