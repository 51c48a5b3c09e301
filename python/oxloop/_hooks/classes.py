"""Classes that the extension module derives from, their constants, and asyncio's policies."""

import asyncio
import os
import socket
import sys
from asyncio import base_subprocess, constants, events, transports, unix_events

from .versions import DATAGRAM_HEADER_SIZE, PYTHON

# What the extension module derives from, or calls by its module's name.
BufferedProtocol = asyncio.BufferedProtocol
TimerHandle = asyncio.TimerHandle
StreamReaderProtocol = asyncio.StreamReaderProtocol
BaseSubprocessTransport = base_subprocess.BaseSubprocessTransport
SelectorEventLoop = asyncio.SelectorEventLoop
Socket = socket.socket
FlowControlMixin = transports._FlowControlMixin
ReadTransport = transports.ReadTransport
strerror = os.strerror
fsdecode = os.fsdecode
audit = sys.audit

STREAM_TRANSPORT_CONSTANTS = {
    "__module__": "oxloop",
    "__doc__": "A connected stream socket: an asyncio.Transport with its data path in Rust.",
    "_start_tls_compatible": True,
    "_sendfile_compatible": constants._SendfileMode.TRY_NATIVE,
    "max_size": 256 * 1024,
    # None once the connection is lost, in asyncio; its own tests look at it.
    "_read_ready_cb": NotImplemented,
}

DATAGRAM_TRANSPORT_CONSTANTS = {
    "__module__": "oxloop",
    "__doc__": "A datagram endpoint: an asyncio.DatagramTransport with its data path in Rust.",
    "max_size": 256 * 1024,
    "_header_size": DATAGRAM_HEADER_SIZE,
}


class DatagramBase(FlowControlMixin, asyncio.DatagramTransport):
    """What asyncio's datagram transport is, beside the code."""

    __slots__ = ()


READ_PIPE_CONSTANTS = {
    "__module__": "oxloop",
    "__doc__": "The reading end of a pipe: an asyncio.ReadTransport with its data path in Rust.",
    "max_size": 256 * 1024,
}

WRITE_PIPE_CONSTANTS = {
    "__module__": "oxloop",
    "__doc__": "The writing end of a pipe: an asyncio.WriteTransport with its data path in Rust.",
}

if PYTHON < (3, 14):
    DefaultEventLoopPolicy = asyncio.DefaultEventLoopPolicy
    set_event_loop_policy = asyncio.set_event_loop_policy
elif PYTHON < (3, 16):
    # The public names warn; these are what they lead to.
    DefaultEventLoopPolicy = unix_events._DefaultEventLoopPolicy
    set_event_loop_policy = events._set_event_loop_policy
else:
    # There are none any more, and nobody asks for them.
    DefaultEventLoopPolicy = set_event_loop_policy = None
