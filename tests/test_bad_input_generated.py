"""Every public method, called with wrong types, edge values and in wrong states.

The same calls are made on the asyncio that runs and on oxloop, side by side: the same exception
comes out, or none, and nothing is left behind. What differs on purpose is in ``DIFFERENCES``.
"""

import asyncio
import fnmatch
import logging
import warnings

import pytest
from bad_input import (
    REFERENCE,
    attempt_all,
    cases,
    public_methods,
    states,
)

import oxloop

#: "subject.method(case) state" -> why oxloop is meant to differ.
DIFFERENCES = {
    "loop.call_*(context=*) *": "refused at the call: it could only fail in the turn",
    "loop.call_*(*=nan) *": "refused at the call: it corrupts the order of a heap",
    "loop.call_at(when=*) *": "refused at the call: it breaks the comparison of deadlines for good",
    "loop.create_connection(happy_eyeballs_delay=nan) *": "as above: it is a delay of call_later()",
    "loop.*connect*(sock=a transport's) *": "refused as watching it is; asyncio does since 3.12",
    "loop.subprocess_*(protocol_factory=class) *": "which of its errors is first is a race",
    "loop.subprocess_*(*=*) closed": "refused first: asyncio starts a child and leaves it",
    "loop.subprocess_*(an unknown keyword) closed": "as above",
    "loop.create_task(context=*) *": "refused at the call: the task would never end",
    "loop.*(protocol_factory=class) closed": "a closed loop makes no transport of anything",
    "loop.*connect*(ssl=*) closed": "a closed loop makes no transport of anything",
    "loop.connect_*_pipe(pipe=*) closed": "a closed loop makes no transport of anything",
    "loop.start_tls(transport=closed) open": "it is lost: asyncio waits for its handshake",
    "loop.start_tls(protocol=*) open": "what it does in its connection_lost() is reported",
    "loop.start_tls(server_side=*) *": "a truth value, as asyncio has it since 3.12",
    "loop.start_tls(ssl_*_timeout=nan) *": "refused at the call: there is no such moment",
    "loop.remove_*(fd=a transport's) closed": "a closed loop has no transports",
    "loop.*sendfile(count=huge) *": "more than there is, as asyncio has it since 3.13",
    "loop.sock_sendall(data=wide) *": "asyncio takes the number of items for that of bytes",
    "stream.writelines(*) clos*": "asyncio 3.12 and 3.13 stumble over their own buffer",
    "stream.writelines(list_of_data=*) *": "all of it is looked at first, in every state",
    "tls.writelines(list_of_data=*) *": "all of it is looked at first, in every state",
    "*.write(data=gaps) *": "refused at the call: asyncio ends the connection",
    "write_pipe.write(data=wide) *": "asyncio takes the number of items for that of bytes",
    "write_pipe.abort(*) *": "asyncio stumbles over its own attributes",
    "datagram.sendto(*) closed": "asyncio stumbles over its own attributes",
}

METHODS = {
    (subject, name): (parameters, is_coroutine)
    for subject in REFERENCE
    for name, parameters, is_coroutine in public_methods(subject)
}


def batches():
    for (subject, method), (_, is_coroutine) in METHODS.items():
        for state in states(subject, method, is_coroutine):
            yield pytest.param(subject, method, state, id=f"{subject}.{method}-{state}")


@pytest.fixture(autouse=True)
def quiet(tmp_path, monkeypatch):
    """Names of files are made here; what is logged and never awaited is not the subject."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("asyncio"), "disabled", True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("subject, method, state", list(batches()))
def test_bad_input(subject, method, state):
    wanted = dict(cases(method, METHODS[subject, method][0], state))
    names = {label: f"{subject}.{method}({label}) {state}" for label in wanted}
    compared = {label: wanted[label] for label in wanted if not is_meant(names[label])}
    theirs, _ = attempt_all(asyncio.SelectorEventLoop, subject, method, state, compared)
    ours, left = attempt_all(oxloop.new_event_loop, subject, method, state, wanted)
    differing = {label: wanted[label] for label in compared if ours[label] != theirs[label]}
    if any("pending" in ours[label] + theirs[label] for label in differing):
        # On a busy machine one of them may just have been slow.
        options = (subject, method, state, differing, 1.0)
        theirs, _ = attempt_all(asyncio.SelectorEventLoop, *options)
        ours, left = attempt_all(oxloop.new_event_loop, *options)
    assert not [
        f"{names[label]}: {ours[label]}; asyncio: {theirs[label]}"
        for label in differing
        if ours[label] != theirs[label]
    ]
    assert not left


def is_meant(name):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in DIFFERENCES)
