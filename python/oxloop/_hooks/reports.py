"""What transports report, log and warn of, in asyncio's words."""

import errno
import warnings
from asyncio import format_helpers, selector_events, unix_events


def report_connection_made_error(transport, exc):
    """``connection_made`` failed: reported as the callback that it is in asyncio."""
    _report_callback_error(transport, "connection_made", (transport,), exc)


def report_data_received_error(transport, exc):
    """``data_received`` of a pipe's protocol failed; in asyncio it is part of a callback."""
    _report_callback_error(transport, "data_received", (), exc)


def _report_callback_error(transport, name, args, exc):
    protocol = transport.get_protocol()
    loop = transport._loop
    if loop is None:
        return
    callback = getattr(protocol, name, protocol)
    source = format_helpers._format_callback_source(callback, args)
    loop.call_exception_handler(
        {
            "message": f"Exception in callback {source}",
            "exception": exc,
            "transport": transport,
            "protocol": protocol,
        }
    )


def report_protocol_error(transport, name, exc):
    """A callback failed of whose failures the transport takes no note, as in asyncio."""
    protocol = transport.get_protocol()
    callback = getattr(protocol, name, protocol)
    source = format_helpers._format_callback_source(callback, ())
    transport._loop.call_exception_handler(
        {
            "message": f"Exception in callback {source}",
            "exception": exc,
            "transport": transport,
            "protocol": protocol,
        }
    )


def report_fatal_error(transport, exc, message):
    """What ``_fatal_error`` says before it closes."""
    loop = transport._loop
    if loop is None:
        return
    if isinstance(exc, OSError):
        if loop.get_debug():
            selector_events.logger.debug("%r: %s", transport, message, exc_info=exc)
    else:
        loop.call_exception_handler(
            {
                "message": message,
                "exception": exc,
                "transport": transport,
                "protocol": transport.get_protocol(),
            }
        )


def report_read_pipe_error(transport, exc, message):
    """What ``_fatal_error`` of a read pipe says: EIO is how a terminal ends."""
    if isinstance(exc, OSError) and exc.errno != errno.EIO:
        loop = transport._loop
        if loop is not None:
            loop.call_exception_handler(
                {
                    "message": message,
                    "exception": exc,
                    "transport": transport,
                    "protocol": transport.get_protocol(),
                }
            )
    else:
        report_fatal_error(transport, exc, message)


def report_flow_error(transport, what, exc):
    """``pause_writing`` or ``resume_writing`` failed."""
    transport._loop.call_exception_handler(
        {
            "message": f"protocol.{what}() failed",
            "exception": exc,
            "transport": transport,
            "protocol": transport.get_protocol(),
        }
    )


def log_transport(transport, what):
    selector_events.logger.debug("%r %s", transport, what)


def log_closed_by_peer(transport):
    unix_events.logger.info("%r was closed by peer", transport)


def refuse_pipe_data(data):
    raise AssertionError(repr(data))


def warn_lost_pipe_write():
    unix_events.logger.warning("pipe closed by peer or os.write(pipe, data) raised exception.")


def warn_lost_write():
    selector_events.logger.warning("socket.send() raised exception.")


def warn_unclosed(transport):
    warnings.warn(f"unclosed transport {transport!r}", ResourceWarning, source=transport)
