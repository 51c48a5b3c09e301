"""Child processes: what their output passes, watchers a program may have chosen, their ends."""

import inspect
from asyncio import base_subprocess, events, format_helpers, subprocess, unix_events

from .classes import BaseSubprocessTransport
from .versions import PYTHON


def _output_stages():
    """The classes and methods that what a child writes passes, if they are CPython's own."""
    pipe_protocol = base_subprocess.ReadSubprocessPipeProto
    stream_protocol = subprocess.SubprocessStreamProtocol
    methods = (
        pipe_protocol.data_received,
        BaseSubprocessTransport._pipe_data_received,
        BaseSubprocessTransport._call,
        stream_protocol.pipe_data_received,
    )
    modules = ("asyncio.base_subprocess", "asyncio.subprocess")
    if any(not inspect.isfunction(one) or one.__module__ not in modules for one in methods):
        return None
    return pipe_protocol, *methods[:3], stream_protocol, methods[3]


CHILD_OUTPUT = _output_stages()

if PYTHON < (3, 14):
    # Watchers that only wait for the children they are told of: what the loop does as well.
    _PLAIN_WATCHERS = (unix_events.ThreadedChildWatcher, unix_events.PidfdChildWatcher)

    def has_own_child_watcher(loop):
        """Whether the program has chosen a child watcher that has to do the watching.

        FastChildWatcher, for one, reaps every child of the process: it alone knows their ends.
        """
        watcher = getattr(events._event_loop_policy, "_watcher", None)
        return watcher is not None and type(watcher) not in _PLAIN_WATCHERS

else:

    def has_own_child_watcher(loop):
        """Whether somebody has given the loop another watcher than asyncio made for it."""
        return loop._watcher is not loop._given_watcher


def warn_unknown_child(pid):
    unix_events.logger.warning(
        "child process pid %d exit status already read:  will report returncode 255", pid
    )


def warn_closed_loop(loop, pid):
    unix_events.logger.warning("Loop %r that handles pid %r is closed", loop, pid)


def report_child_error(loop, transport, exc):
    """Telling a transport of its child's end failed."""
    source = format_helpers._format_callback_source(transport._process_exited, ())
    loop.call_exception_handler(
        {
            "message": f"Exception in callback {source}",
            "exception": exc,
            "transport": transport,
            "protocol": transport.get_protocol(),
        }
    )
