"""What the module says about the interpreter's lock: that it needs it, as its cells do."""

import ctypes
import sys
import sysconfig

import pytest

import oxloop._oxloop

pytestmark = pytest.mark.oxloop_only

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
PY_MOD_GIL, PY_MOD_GIL_USED = 4, None


class Slot(ctypes.Structure):
    _fields_ = [("slot", ctypes.c_int), ("value", ctypes.c_void_p)]


class Definition(ctypes.Structure):
    """PyModuleDef, behind the head of an object."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("init", "index", "copy", "name", "doc", "size")),
        *(("methods", ctypes.c_void_p), ("slots", ctypes.POINTER(Slot))),
    ]


def slots_of(module):
    """The slots of a module's definition, by number."""
    get = ctypes.pythonapi.PyModule_GetDef
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object]
    definition = Definition.from_address(get(module) + object.__basicsize__)
    found = {}
    for entry in definition.slots:
        if not entry.slot:
            return found
        found[entry.slot] = entry.value


@pytest.mark.skipif(FREE_THREADED, reason="the interpreter itself can say it there")
@pytest.mark.skipif(
    not (3, 13) <= sys.version_info < (3, 15),
    reason="3.13 brings the slot, 3.15 modules without a definition",
)
def test_the_module_says_that_it_needs_the_lock():
    assert slots_of(oxloop._oxloop)[PY_MOD_GIL] == PY_MOD_GIL_USED


@pytest.mark.skipif(not FREE_THREADED, reason="there is nothing but the lock")
def test_importing_it_turns_the_lock_on():
    assert sys._is_gil_enabled()
