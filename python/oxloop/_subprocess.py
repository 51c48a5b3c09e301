"""Subprocesses: asyncio's transport over our pipes, with the child's end told by the engine.

Children are started by the interpreter's own ``subprocess.Popen``, which does not copy the memory
of a large process. Their end is watched for by a pidfd each: no SIGCHLD, no thread, from whichever
thread the loop runs in. Where the system refuses pidfds a thread waits for each child.
"""

import contextvars
import itertools
import os
import subprocess
import threading
from asyncio import shield

from . import _hooks


class SubprocessTransport(_hooks.BaseSubprocessTransport):
    """An ``asyncio.SubprocessTransport``."""

    def _start(self, args, shell, stdin, stdout, stderr, bufsize, **kwargs):
        # Before the child: its end is reported in the context of its beginning.
        self._context = contextvars.copy_context()
        self._proc = subprocess.Popen(
            args,
            shell=shell,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            universal_newlines=False,
            bufsize=bufsize,
            **kwargs,
        )

    def _process_exited(self, returncode):
        super()._process_exited(returncode)
        # Older versions wait for the pipes as well, which a closed transport may never have had.
        waiters = self._exit_waiters
        if waiters:
            self._exit_waiters = type(waiters)()
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(returncode)


class Subprocesses:
    """Part of :class:`oxloop.EventLoop`: starting children and learning of their end."""

    async def _make_subprocess_transport(
        self, protocol, args, shell, stdin, stdout, stderr, bufsize, extra=None, **kwargs
    ):
        if _hooks.has_own_child_watcher(self):
            return await super()._make_subprocess_transport(
                protocol, args, shell, stdin, stdout, stderr, bufsize, extra, **kwargs
            )
        self._check_closed()
        waiter = self.create_future()
        transport = SubprocessTransport(
            self,
            protocol,
            args,
            shell,
            stdin,
            stdout,
            stderr,
            bufsize,
            waiter=waiter,
            extra=extra,
            **kwargs,
        )
        self._await_child(transport)
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await shield(transport._wait())
            raise
        return transport

    def _await_child(self, transport):
        pid = transport.get_pid()
        try:
            self._watch_child(pid, transport)
        except ProcessLookupError:
            # Gone already, and reaped by somebody else.
            self.call_soon(self._child_exited, transport, None)
        except OSError:
            try:
                ChildWaiter(self, transport).start()
            except RuntimeError:
                # No thread either: nobody would learn of the child's end.
                transport.close()
                self._child_exited(transport, transport._proc.wait())
                raise

    def _child_exited(self, transport, returncode):
        """A child has ended. *returncode* is None if it could not be reaped by its pidfd."""
        pid, popen = transport.get_pid(), transport._proc
        if returncode is None:
            returncode = reap(popen, pid)
        # From here on the pid can be another process': before 3.13 Popen sends the signals.
        popen.returncode = returncode
        transport._context.run(self._child_watcher_callback, pid, returncode, transport)


def reap(popen, pid):
    """The return code of a child that has ended; 255 if somebody took it who is not its Popen."""
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        if popen.returncode is not None:
            return popen.returncode
        _hooks.warn_unknown_child(pid)
        return 255
    return os.waitstatus_to_exitcode(status)


class ChildWaiter(threading.Thread):
    """Waits for one child and leaves reaping it to the loop, so that its pid stays its own."""

    _counter = itertools.count()

    def __init__(self, loop, transport):
        super().__init__(name=f"oxloop-waitpid-{next(self._counter)}", daemon=True)
        self._loop = loop
        self._transport = transport
        self._pid = transport.get_pid()

    def run(self):
        try:
            os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            pass  # reaped by somebody else; the loop finds out
        loop, transport = self._loop, self._transport
        del self._loop, self._transport
        try:
            loop.call_soon_threadsafe(loop._child_exited, transport, None)
        except RuntimeError:
            reap(transport._proc, self._pid)
            _hooks.warn_closed_loop(loop, self._pid)
