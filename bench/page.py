"""Write what run.py has measured into docs/performance.md, and draw it: docs/performance.svg.

    page.py FIGURES.json

`make bench` calls it. The page keeps its text; what stands between the two marks is replaced.
"""

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any
from xml.sax.saxutils import escape

import network
from loop_scenarios import CREATE_LOOP, TITLES
from run import OURS, Figures, ratio

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
GROUPS = {
    "The loop by itself": [*TITLES, CREATE_LOOP],
    "Servers and their clients": list(network.SCENARIOS),
}
NAMES = {
    **TITLES,
    CREATE_LOOP: "make a loop and close it",
    **{name: scenario.title for name, scenario in network.SCENARIOS.items()},
}
#: Medians that are closer than this are called level.
LEVEL = 0.03
#: What a loop's bar looks like, on white and on black.
COLOURS = {
    "asyncio": ("#9aa0a6", "#80868b"),
    "uvloop": ("#e8a33d", "#c98a2b"),
    "zuvloop": ("#5b8def", "#6f9cf5"),
    "rloop": ("#8a63d2", "#a184e0"),
    "oxloop": ("#c8432b", "#e8694f"),
}
LABELS, BARS, BAR, ROW_GAP = 330, 330, 13, 12


def medians(figures: Figures) -> dict[str, dict[str, float]]:
    """Microseconds by scenario and loop, without loops that failed."""
    return {
        name: {
            loop: median(known)
            for loop, by_round in by_loop.items()
            if (known := [figure for figure in by_round if figure is not None])
        }
        for name, by_loop in figures.items()
    }


def table(names: list[str], figures: Figures, loops: list[str]) -> str:
    """One group, in Markdown: least in bold."""
    lines = [
        f"| CPU µs | {' | '.join(loops)} | uvloop ÷ {OURS} |",
        f"| --- |{' ---: |' * (len(loops) + 1)}",
    ]
    for name, known in medians({name: figures[name] for name in names}).items():
        best = min(known.values(), default=0)
        cells = [NAMES[name]]
        for loop in loops:
            text = f"{known[loop]:.3g}" if loop in known else "–"
            cells.append(f"**{text}**" if known.get(loop) == best else text)
        base = figures[name].get("uvloop", [])
        cells.append(ratio(base, figures[name][OURS]) if base else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def behind(figures: Figures) -> str:
    """In words: the rows in which a peer needs less, or nothing that can be told apart."""
    less, level = [], []
    for name, known in medians(figures).items():
        ours = known.pop(OURS, None)
        if ours is None or not known:
            continue
        peer = min(known, key=lambda loop: known[loop])
        share = ours / known[peer] - 1
        if share > LEVEL:
            less.append(f"- {NAMES[name]}: {peer} needs {1 - known[peer] / ours:.0%} less")
        elif share > -LEVEL:
            level.append(f"- {NAMES[name]}: level with {peer}")
    if not less and not level:
        return "In none of these rows does another loop need less."
    text = "\n".join([*less, *level])
    return f"Where another loop needs less, or differs by less than {LEVEL:.0%}:\n\n{text}"


def chart(figures: Figures, loops: list[str]) -> str:
    """Bars for each scenario, as long as its share of the slowest loop's time."""
    style = "".join(f".{loop}{{fill:{COLOURS.get(loop, ('#777', '#999'))[0]}}}" for loop in loops)
    dark = "".join(f".{loop}{{fill:{COLOURS.get(loop, ('#777', '#999'))[1]}}}" for loop in loops)
    body, y = [*legend(loops)], 44
    for name, known in medians(figures).items():
        body.append(text(LABELS - 10, y + len(known) * BAR / 2 + 4, NAMES[name], "end"))
        longest = max(known.values(), default=1)
        for loop in (loop for loop in loops if loop in known):
            width = max(1.0, BARS * known[loop] / longest)
            size = f'width="{width:.1f}" height="{BAR - 2}"'
            body.append(f'<rect class="{loop}" x="{LABELS}" y="{y}" {size}/>')
            body.append(text(LABELS + width + 5, y + BAR - 4, f"{known[loop]:.3g}", "start", "n"))
            y += BAR
        y += ROW_GAP
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LABELS + BARS + 60} {y}" role="img"'
        ' aria-label="CPU time per operation of each loop, in microseconds">',
        "<style>text{font:13px system-ui,sans-serif;fill:#222}.n{font-size:10px}"
        f"{style}@media(prefers-color-scheme:dark){{text{{fill:#ddd}}{dark}}}</style>",
        *body,
        "</svg>\n",
    ])  # fmt: skip


def legend(loops: list[str]) -> list[str]:
    parts = []
    for at, loop in enumerate(loops):
        x = LABELS + at * 85
        parts.append(f'<rect class="{loop}" x="{x}" y="12" width="11" height="11"/>')
        parts.append(text(x + 16, 22, loop, "start"))
    return parts


def text(x: float, y: float, words: str, anchor: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f"<text{name} {place}>{escape(words)}</text>"


def section(content: dict[str, Any]) -> str:
    """Everything between the marks."""
    figures: Figures = content["microseconds"]
    loops = list(next(iter(figures.values())))
    parts = ["![CPU time per operation of each loop](performance.svg)"]
    parts.append("\n".join(["| | |", "| --- | --- |", *(
        f"| {name} | {fact} |" for name, fact in content["about"].items()
    )]))  # fmt: skip
    for title, names in GROUPS.items():
        there = [name for name in names if name in figures]
        if there:
            parts += [f"### {title}", table(there, figures, loops)]
    parts += ["### Where others are ahead", behind(figures)]
    parts += [f"{what} failed: {why}." for what, why in content["failures"].items()]
    return "\n\n".join(parts)


def main() -> None:
    content = json.loads(Path(sys.argv[1]).read_text())
    figures: Figures = content["microseconds"]
    if OURS not in next(iter(figures.values()), {}):
        sys.exit(f"{sys.argv[1]} has no figures of {OURS}: measure them, or leave the page alone")
    page = DOCS / "performance.md"
    head, _, rest = page.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(f"{head}{BEGIN}\n\n{section(content)}\n\n{END}{tail}")
    (DOCS / "performance.svg").write_text(chart(figures, list(next(iter(figures.values())))))
    print(f"written: {page}, and performance.svg beside it")


if __name__ == "__main__":
    main()
