"""The table in docs/compatibility.md names every public method, and says truly whose it is."""

import asyncio
import re
from pathlib import Path

import pytest
from bad_input import REFERENCE, public_methods

import oxloop
from oxloop import _oxloop

pytestmark = pytest.mark.oxloop_only

PAGE = Path(__file__).parent.parent / "docs" / "compatibility.md"
SECTION = re.compile(r"^## The API\n(.*?)^## ", re.MULTILINE | re.DOTALL)
OBJECTS = {"Handle": _oxloop.Handle, "TimerHandle": _oxloop.TimerHandle, "Server": asyncio.Server}
#: Public by their names, and in no documentation.
UNDOCUMENTED = {"get_read_buffer_limits", "get_read_buffer_size", "set_read_buffer_limits"}


def rows():
    """``(names, whose)`` of every row; transports have no "whose"."""
    for line in SECTION.search(PAGE.read_text())[1].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            yield re.findall(r"`([\w.]+)`", cells[0]), cells[2] if len(cells) == 4 else None


def named(kind):
    """The names in the rows of the loop, of transports, or of an object."""
    for names, whose in rows():
        for name in names:
            owner, _, method = name.rpartition(".")
            if (owner or ("loop" if whose else "transport")) == kind:
                yield method, whose


@pytest.mark.parametrize("subject", REFERENCE)
def test_every_method_is_named(subject):
    kinds = {"loop": "loop", "handle": "Handle", "timer": "TimerHandle", "server": "Server"}
    known = {name for name, _ in named(kinds.get(subject, "transport"))}
    if subject == "timer":
        known |= {name for name, _ in named("Handle")}
    methods = {name for name, _, _ in public_methods(subject)}
    assert not methods - known - UNDOCUMENTED


def test_every_name_is_a_method_of_some_version():
    future = {"get_context", "close_clients", "abort_clients"}
    for kind, owner in {"loop": asyncio.SelectorEventLoop, **OBJECTS}.items():
        missing = {name for name, _ in named(kind) if not hasattr(owner, name)}
        assert not missing - future, kind


@pytest.mark.parametrize("name, whose", list(named("loop")))
def test_whose_it_is(name, whose):
    mro = oxloop.EventLoop.__mro__
    owner = next(kind for kind in mro if name in vars(kind))
    ours = mro.index(owner) < mro.index(asyncio.SelectorEventLoop)
    assert whose in ("native", "inherited", "extended")
    assert ours is (whose != "inherited"), f"it is {owner.__name__}'s"
