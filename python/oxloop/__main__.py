"""``python -m oxloop [script.py | -m module | -c code] [args …]``: a program on oxloop.

Behaves like ``python`` with the same words: ``sys.argv``, ``sys.path[0]``, ``__main__``, exit code
and tracebacks. The program needs no change: every loop that it asks asyncio for is oxloop's.
"""

import runpy
import sys

USAGE = "usage: python -m oxloop [script.py | -m module | -c code] [args ...]"


def main():
    args = sys.argv[1:]
    if not args or args[0] in ("-h", "--help"):
        print(USAGE, file=sys.stderr if not args else sys.stdout)
        sys.exit(2 if not args else 0)
    _install_everywhere()
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
    sys.path[0] = _folder_of(path)
    runpy.run_path(path, run_name="__main__")


def _folder_of(path):
    import os

    return os.path.dirname(os.path.realpath(path)) if os.path.isfile(path) else path


def _run_module(name):
    # `python -m` puts the working directory first, as it did for us.
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _run_code(code):
    import __main__

    sys.path[0] = ""
    for name in [name for name in vars(__main__) if not name.startswith("__")]:
        del vars(__main__)[name]
    exec(compile(code, "<string>", "exec"), vars(__main__))


main()
