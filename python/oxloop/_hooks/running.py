"""What a run does around its turns, and what is said of the callbacks that it runs."""

import inspect
import signal
import sys
import threading
from asyncio import Handle, base_events, events, format_helpers

from .versions import PYTHON

get_running_loop = events.get_running_loop
is_finalizing = sys.is_finalizing
set_wakeup_fd = signal.set_wakeup_fd
original_handle_run = Handle._run


def begin_run(loop):
    """What ``run_forever`` does before its first turn.

    Refused, it changes nothing; failed halfway, it is undone.
    """
    loop._check_closed()
    loop._check_running()
    try:
        _set_up_run(loop)
    except BaseException:
        end_run(loop)
        raise


#: Where a thread's dict has what notes its running loop: only before 3.12 it takes memory to note
#: that none runs.
RUNNING_LOOP_KEY = "__asyncio_running_event_loop__" if PYTHON < (3, 12) else None

if PYTHON >= (3, 14):
    _set_up_run = base_events.BaseEventLoop._run_forever_setup
    #: What ``run_forever`` does after its last turn, also if the run failed.
    end_run = base_events.BaseEventLoop._run_forever_cleanup
else:

    def _set_up_run(loop):
        # An exact tuple: calling with it later takes no memory.
        loop._old_agen_hooks = tuple(sys.get_asyncgen_hooks())
        loop._set_coroutine_origin_tracking(loop._debug)
        loop._thread_id = threading.get_ident()
        sys.set_asyncgen_hooks(loop._asyncgen_firstiter_hook, loop._asyncgen_finalizer_hook)
        events._set_running_loop(loop)

    def end_run(loop):
        """What ``run_forever`` does after its last turn, also if the run failed.

        All of it is done, whatever fails: there may be no memory for some of it.
        """
        loop._stopping = False
        loop._thread_id = None
        try:
            events._set_running_loop(None)
        finally:
            try:
                loop._set_coroutine_origin_tracking(False)
            finally:
                if getattr(loop, "_old_agen_hooks", None) is not None:
                    sys.set_asyncgen_hooks(*loop._old_agen_hooks)
                    loop._old_agen_hooks = None


def is_handle_run_patched():
    """Whether somebody (a profiler, logfire) has replaced ``asyncio.Handle._run``."""
    return Handle._run is not original_handle_run


def own_methods(loop):
    """Whether ``time``, ``call_at`` and ``call_soon`` are oxloop's: not a subclass', not assigned.

    The native code goes around those that are.
    """
    from .. import _oxloop

    kind, namespace, native = type(loop), loop.__dict__, _oxloop.Loop
    return (
        kind.time is native.time,  # an assigned one is looked for again and again
        kind.call_at is native.call_at and "call_at" not in namespace,
        kind.call_soon is native.call_soon and "call_soon" not in namespace,
    )


def extract_stack():
    """The stack of whoever called the native method that calls this."""
    return format_helpers.extract_stack(sys._getframe(1))


if "debug" in inspect.signature(format_helpers._format_callback_source).parameters:

    def _format_callback(handle, loop):
        return format_helpers._format_callback_source(
            handle._callback, handle._args, debug=loop.get_debug()
        )

else:

    def _format_callback(handle, loop):
        return format_helpers._format_callback_source(handle._callback, handle._args)


def report_callback_error(loop, handle, exc):
    """What ``Handle._run`` does with an exception."""
    context = {
        "message": f"Exception in callback {_format_callback(handle, loop)}",
        "exception": exc,
        "handle": handle,
    }
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    loop.call_exception_handler(context)


def report_native_error(loop, exc):
    """A callback of another native module has failed: there is no handle to name."""
    loop.call_exception_handler({"message": "Exception in native callback", "exception": exc})


def run_in_debug_mode(loop, handle):
    """What ``_run_once`` does with a handle: the loop knows it, slow ones are logged."""
    if handle._cancelled:
        return
    if not loop._debug:
        # Only here because Handle._run is not asyncio's any more.
        Handle._run(handle)
        return
    try:
        loop._current_handle = handle
        start = loop.time()
        handle._run()
        duration = loop.time() - start
        if duration >= loop.slow_callback_duration:
            base_events.logger.warning(
                "Executing %s took %.3f seconds", base_events._format_handle(handle), duration
            )
    finally:
        loop._current_handle = None
        # A traceback of the callback keeps this frame, and would keep the handle with it.
        handle = None
