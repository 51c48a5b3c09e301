"""The extension modules in Rust: where the tests find them, and who skips without them."""

import gc
import importlib
import os
import sys

import pytest

FOLDER = os.environ.get("OXLOOP_EXTENSIONS")
FOLDER = FOLDER and os.path.abspath(FOLDER)


def built(name):
    """The module. `make test` builds it, and then it has to be there."""
    if FOLDER is None:
        pytest.skip("needs a module in Rust: make test-python builds it", allow_module_level=True)
    if FOLDER not in sys.path:
        sys.path.insert(0, FOLDER)
    return importlib.import_module(name)


def nothing_left_of(probe):
    """A fixture for each test: what the module has made is gone when its loop is."""

    @pytest.fixture(autouse=True)
    def nothing_left():
        before = probe.live()
        yield
        gc.collect()
        assert probe.live() == before

    return nothing_left
