"""``python -m oxloop info``: what a bug report should say about where oxloop runs."""

import asyncio
import os
import platform
import socket
import ssl
import sys
import sysconfig

from . import _hooks, _oxloop
from ._run import new_event_loop

SWITCHES = ("OXLOOP_TLS", "OXLOOP_CHILDREN", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHON_GIL")


def report():
    """The lines, as one text. Opens a loop and a socket pair to see what is used, and no more."""
    facts = {
        "oxloop": f"{_oxloop.__version__} ({os.path.dirname(os.path.abspath(__file__))})",
        "Python": f"{platform.python_implementation()} {sys.version.splitlines()[0]}",
        "build": _build(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "C library": " ".join(platform.libc_ver()) or "unknown (musl?)",
        "backend": "epoll",
        "children": _children(),
        "OpenSSL": ssl.OPENSSL_VERSION,
        "TLS": _tls(),
        "processors": _processors(),
        "environment": _environment(),
    }
    width = max(map(len, facts))
    return "\n".join(f"{name:{width}}  {fact}" for name, fact in facts.items())


def _build():
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "with the GIL"
    return f"free-threaded, GIL {'on' if sys._is_gil_enabled() else 'off'}"


def _children():
    try:
        fd = os.pidfd_open(os.getpid())
    except (OSError, AttributeError) as exc:
        return f"told by a waiting thread each: no pidfd ({exc})"
    os.close(fd)
    return "told by pidfds"


def _processors():
    return f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} usable"


def _environment():
    found = [f"{name}={os.environ[name]}" for name in SWITCHES if name in os.environ]
    return " ".join(found) or f"none of {' '.join(SWITCHES)}"


def _tls():
    """Which way data of a TLS connection takes, seen on one; and why not the direct one."""
    ours, peer = socket.socketpair()
    loop = new_event_loop()
    try:
        return _path_of(loop, ours)
    except Exception as exc:
        return f"does not work: {exc!r}"
    finally:
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        ours.close()
        peer.close()


def _path_of(loop, sock):
    sock.setblocking(False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    transport = loop._make_ssl_transport(
        sock, asyncio.Protocol(), context, server_hostname="localhost"
    )
    path = getattr(transport, "_session", None)
    transport.abort()
    if path == "direct":
        return "direct (OpenSSL's functions)"
    return f"through ssl.SSLObject: {_why_not_direct(path)}"


def _why_not_direct(path):
    if path is None:
        return "asyncio.sslproto.SSLProtocol has been replaced"
    if _hooks.tls.TLS_SESSION == "object":
        return "OXLOOP_TLS=object"
    library, _ = _hooks.tls_library()
    if library is None:
        return "_ssl is part of the interpreter, its OpenSSL cannot be found"
    return f"OpenSSL's functions were not found behind {library}"
