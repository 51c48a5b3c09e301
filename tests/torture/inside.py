"""The process of one case: `inside.py NAME SEED LOOP [full]`. The last line is a JSON object."""

import faulthandler
import importlib
import json
import os
import resource
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import cases  # noqa: E402


def limit(kind, value):
    soft, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, hard))


def main(name, seed, loop_kind, form="quick"):
    importlib.import_module(f"case_{name.partition('.')[0]}")
    case = cases.CASES[name]
    seconds = case.seconds * (10 if form == "full" else 1)
    faulthandler.enable()
    faulthandler.dump_traceback_later(seconds, exit=True)
    if "OXLOOP_NO_MEMORY_LIMIT" not in os.environ:  # a sanitizer reserves terabytes
        limit(resource.RLIMIT_AS, case.memory)
    limit(resource.RLIMIT_NOFILE, case.fds)
    limit(resource.RLIMIT_CORE, 0)
    torture = cases.Torture(form == "full", int(seed), loop_kind)
    sys.unraisablehook = lambda args: torture.unraisable.append(f"{args.exc_value!r} {args.object}")
    census = cases.Census()
    case.run(torture)
    census.check()
    assert not torture.errors.contexts, torture.errors.contexts
    assert not torture.unraisable, torture.unraisable
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps(torture.figures), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
