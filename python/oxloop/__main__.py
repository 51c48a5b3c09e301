"""``python -m oxloop [options] [script.py | -m module | -c code] [args …]``: a program on oxloop.

Behaves like ``python`` with the same words: ``sys.argv``, ``sys.path[0]``, ``__main__``, exit code
and tracebacks. The program needs no change: every default loop that it gets is oxloop's.
"""

import builtins
import io
import os
import runpy
import sys
import types
import zipfile

USAGE = """\
usage: python -m oxloop [--as-uvloop] [--children] [script.py | -m module | -c code] [args ...]
       python -m oxloop info"""

HELP = f"""{USAGE}

Run a program on oxloop as python would run it, or say what this oxloop is (info).

options:
  --as-uvloop  let the program's `import uvloop` give oxloop
  --children   put the Python processes that the program starts on oxloop, too
  -h, --help   show this and exit
  --version    show the version and exit"""


def main():
    args = sys.argv[1:]
    options = set()
    while args and args[0] in ("--as-uvloop", "--children"):
        options.add(args.pop(0))
    _answer(args)
    _take_over(options)
    _hide_own_frames()
    run, target, rest = _choose(args)
    sys.argv[:] = rest
    run(target)


def _answer(args):
    """Exit, if the words are a question or a mistake and no program."""
    if not args:
        _refuse("Argument expected: a program")
    if args[0] in ("-h", "--help"):
        print(HELP)
    elif args[0] == "--version":
        from oxloop import __version__

        print(f"oxloop {__version__}")
    elif args == ["info"]:
        from oxloop._info import report

        print(report())
    elif args[0] in ("-m", "-c"):
        if len(args) < 2:
            _refuse(f"Argument expected for the {args[0]} option")
        return
    elif args[0].startswith("-"):
        _refuse(f"Unknown option: {args[0]}")
    else:
        return
    sys.exit(0)


def _refuse(reason):
    print(f"{reason}\n{USAGE}", file=sys.stderr)
    sys.exit(2)


def _choose(args):
    """What to do with the command line: a function, its argument, and the program's argv."""
    if args[0] == "-m":
        return _run_module, args[1], [args[1], *args[2:]]
    if args[0] == "-c":
        return _run_code, args[1], ["-c", *args[2:]]
    return _run_script, args[0], args


def _take_over(options):
    """Put this process on oxloop, and the environment of its children where that is asked."""
    from oxloop import _everywhere, as_uvloop

    _everywhere.take_over()
    if "--as-uvloop" in options:
        as_uvloop()
    else:
        _everywhere.notice_uvloop()
    if "--children" in options:
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_children")
        paths = (folder, os.environ.get("PYTHONPATH"))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        os.environ["OXLOOP_CHILDREN"] = "uvloop" if "--as-uvloop" in options else "loop"


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
