"""Check the documentation: links to files and headings resolve, Python examples compile.

Looks at the Markdown files at the top and in docs/. Links to other sites are not followed, but
those to this repository's own files are: what PyPI or the site shows has to name them in full.
"""

import argparse
import ast
import doctest
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^( *)(```+|~~~+) *(\w*).*\n((?:.*\n)*?) *\2[`~]* *$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(<?([^)\s>]+)>?(?: +\"[^\"]*\")?\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]: *<?(\S+?)>?(?: +.*)?$", re.MULTILINE)
OURS = "https://github.com/oxloop/oxloop/blob/main/"
HEADING = re.compile(r"^#{1,6} +(.*?)#* *$", re.MULTILINE)


def documents(root: Path) -> list[Path]:
    return sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")])


def prose(text: str) -> str:
    """The text without its code, where brackets mean something else; lines keep their numbers."""
    text = FENCE.sub(lambda block: "\n" * block[0].count("\n"), text)
    return re.sub(r"`[^`\n]*`", lambda code: code[0].replace("[", " "), text)


def anchors(text: str) -> set[str]:
    """The names that the headings of a document get, repeated ones numbered."""
    names: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        name = base = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names.add(name)
    return names


def broken_links(root: Path, document: Path, text: str) -> Iterator[str]:
    for pattern in (LINK, REFERENCE):
        for link in pattern.finditer(prose(text)):
            reason = why_broken(root, document, link[1])
            if reason:
                line = prose(text).count("\n", 0, link.start()) + 1
                yield f"{document.relative_to(root)}:{line}: {link[1]}: {reason}"


def why_broken(root: Path, document: Path, target: str) -> str | None:
    """What is wrong with a link, None for a good one and for one to another site."""
    base, target = (root if target.startswith(OURS) else document.parent), target.removeprefix(OURS)
    if re.match(r"[a-z][a-z0-9+.-]*:", target):
        return None
    name, _, anchor = target.partition("#")
    path = (base / name).resolve() if name else document
    if not path.exists():
        return "there is no such file"
    if not path.is_relative_to(root):
        return "leads out of the repository"
    if anchor and path.suffix == ".md" and anchor not in anchors(path.read_text()):
        return "there is no such heading"
    return None


def broken_examples(root: Path, document: Path, text: str) -> Iterator[str]:
    for block in FENCE.finditer(text):
        language, body = block[3], block[4]
        if language in ("python", "py", "pycon"):
            error = why_not_python(re.sub(rf"^{block[1]}", "", body, flags=re.MULTILINE))
            if error:
                line = text.count("\n", 0, block.start(4)) + (error.lineno or 1)
                yield f"{document.relative_to(root)}:{line}: {error.msg}"


def why_not_python(source: str) -> SyntaxError | None:
    """The error of an example; a session with prompts and `await` at the top are fine."""
    try:
        if source.lstrip().startswith(">>>"):
            source = doctest.script_from_examples(source)
        compile(source, "example", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError as error:
        return error
    return None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository to check")
    root = parser.parse_args(arguments).root.resolve()
    broken = []
    for document in documents(root):
        text = document.read_text()
        broken += [*broken_links(root, document, text), *broken_examples(root, document, text)]
    print("\n".join(broken) or f"documentation: {len(documents(root))} files ok")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
