"""``python -m oxloop [script.py | -m module | -c code] [args …]``: a program on oxloop.

Behaves like ``python`` with the same words: ``sys.argv``, ``sys.path[0]``, ``__main__``, exit code
and tracebacks. The program needs no change: every loop that it asks asyncio for is oxloop's.
"""

import builtins
import io
import os
import runpy
import sys
import types
import zipfile

USAGE = "usage: python -m oxloop [script.py | -m module | -c code] [args ...]"


def main():
    args = sys.argv[1:]
    if not args or args[0] in ("-h", "--help"):
        print(USAGE, file=sys.stderr if not args else sys.stdout)
        sys.exit(2 if not args else 0)
    _install_everywhere()
    _hide_own_frames()
    run, target, rest = _choose(args)
    sys.argv[:] = rest
    run(target)


def _choose(args):
    """What to do with the command line: a function, its argument, and the program's argv."""
    if args[0] in ("-m", "-c"):
        if len(args) < 2:
            print(f"Argument expected for the {args[0]} option\n{USAGE}", file=sys.stderr)
            sys.exit(2)
        if args[0] == "-m":
            return _run_module, args[1], [args[1], *args[2:]]
        return _run_code, args[1], ["-c", *args[2:]]
    return _run_script, args[0], args


def _install_everywhere():
    """Let every way to a new loop lead to oxloop: the policy, and the default factories."""
    import oxloop

    if sys.version_info < (3, 16):
        oxloop.install()


def _run_script(path):
    if os.path.isdir(path) or zipfile.is_zipfile(path):
        runpy.run_path(path, run_name="__main__")
        return
    full = os.path.abspath(path)
    try:
        with io.open_code(full) as file:
            source = file.read()
    except OSError as exc:
        reason = f"[Errno {exc.errno}] {exc.strerror}"
        print(f"{sys.executable}: can't open file {full!r}: {reason}", file=sys.stderr)
        sys.exit(2)
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    _run_as_main(source, full, file=full)


def _run_as_main(source, filename, **attributes):
    """Run the source as the module ``__main__``, as the interpreter would."""
    module = types.ModuleType("__main__")
    module.__builtins__ = builtins
    vars(module).update({f"__{name}__": value for name, value in attributes.items()})
    sys.modules["__main__"] = module
    exec(compile(source, filename, "exec"), vars(module))


def _run_module(name):
    # `python -m` puts the working directory first, as it did for us.
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _run_code(code):
    sys.path[0] = ""
    _run_as_main(code, "<string>")


def _hide_own_frames():
    """Let tracebacks begin where the program does."""
    show = sys.excepthook

    def excepthook(kind, exc, traceback):
        while traceback and traceback.tb_frame.f_code.co_filename in (__file__, runpy.__file__):
            traceback = traceback.tb_next
        show(kind, exc.with_traceback(traceback), traceback)

    sys.excepthook = excepthook


main()
