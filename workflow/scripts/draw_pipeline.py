"""Draw the rules and the stores between them, from what Snakemake says of the demo's workflow.

    python workflow/scripts/draw_pipeline.py docs/pipeline.png

Snakemake's `--filegraph` names each rule, its files and the rules whose files it reads. Rules stand
in columns: each to the right of every rule that it reads from. An arrow that a path of other arrows
already implies is left out, since nearly every rule reads `frames.zarr`.
"""

from __future__ import annotations

import html
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch

REPOSITORY = Path(__file__).resolve().parents[2]
LEVELS = {
    "{seed": ("once per variant and seed", "#f6d5c3"),
    "{encoder": ("once per encoder", "#f9edc2"),
    "{scene": ("once per scene", "#d3e4f5"),
    "": ("once", "#e3e3e3"),
}
"""How a wildcard of a rule's output begins -> how often it runs, colour; the first counts."""
WIDTH, HEIGHT = 0.86, 0.62
"""Of a box, where columns and rows are 1 apart."""
POINT = 0.4
"""Height that an arrow takes in a column which it passes."""


@dataclass(frozen=True)
class Rule:
    """A rule, the paths that it writes, and the rules whose files it reads."""

    name: str
    outputs: tuple[str, ...]
    reads: frozenset[str]

    @property
    def level(self) -> tuple[str, str]:
        """How often it runs, and the colour of that."""
        return next(value for key, value in LEVELS.items() if key in " ".join(self.outputs))

    @property
    def made(self) -> str:
        """Its outputs in few words, without wildcards in names."""
        paths = [PurePosixPath(re.sub(r"\{[^}]*\}", "", path)) for path in self.outputs]
        if len(paths) > 2:
            return f"{paths[0].parent.name}/"
        return "\n".join(path.name for path in paths)


def file_graph() -> str:
    """Snakemake's graph of rules and files for the demo, in the dot language."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
    with tempfile.TemporaryDirectory() as empty:
        command += ["--directory", empty, "--cores", "1", "--forceall", "--filegraph"]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def read_rules(graph: str) -> dict[str, Rule]:
    """Rules by name, targets (rules that write nothing) left out."""
    names, outputs = {}, {}
    for number, label in re.findall(
        r"^(\d+) \[ (.*?)^</table>>\]", graph, re.MULTILINE | re.DOTALL
    ):
        found = re.search(r'<b><font point-size="18">(\w+)</font>', label)
        assert found, label
        names[number] = found[1]
        written = label.partition("output &rarr;")[2]
        files = re.findall(r'face="monospace">(.*?)</font>', written)
        outputs[number] = tuple(html.unescape(name) for name in files)
    arrows = re.findall(r"(\d+) -> (\d+)", graph)
    return {
        names[number]: Rule(
            names[number],
            outputs[number],
            frozenset(names[source] for source, reader in arrows if reader == number),
        )
        for number in names
        if outputs[number]
    }


def above(rules: dict[str, Rule], name: str) -> set[str]:
    """Every rule that `name` depends on, through others too."""
    direct = rules[name].reads
    return set(direct).union(*(above(rules, other) for other in direct))


def arrows(rules: dict[str, Rule]) -> list[tuple[str, str]]:
    """(source, reader) of each arrow that no path of other arrows implies."""
    return [
        (source, name)
        for name, rule in rules.items()
        for source in sorted(rule.reads)
        if not any(source in above(rules, other) for other in rule.reads - {source})
    ]


def columns(rules: dict[str, Rule]) -> dict[str, int]:
    """Column of each rule: one further than every rule that it reads from."""
    found: dict[str, int] = {}
    for name in sorted(rules, key=lambda name: (len(above(rules, name)), name)):
        found[name] = 1 + max((found[other] for other in rules[name].reads), default=-1)
    return found


def chains(rules: dict[str, Rule]) -> list[list[str]]:
    """Each arrow as the points that it goes through: its ends, and one in every column between."""
    column = columns(rules)
    return [
        [
            source,
            *(f"{source} {reader} {n}" for n in range(column[source] + 1, column[reader])),
            reader,
        ]
        for source, reader in arrows(rules)
    ]


def places(rules: dict[str, Rule]) -> dict[str, tuple[float, float]]:
    """Centre of each box and of each point that an arrow goes through.

    In a column, they stand in the order of the mean height of what leads to them.
    """
    steps = [step for chain in chains(rules) for step in pairwise(chain)]
    column = columns(rules)
    for chain in chains(rules):
        column |= {point: column[chain[0]] + n for n, point in enumerate(chain)}
    found: dict[str, tuple[float, float]] = {}
    for number in range(max(column.values()) + 1):
        here = [name for name in column if column[name] == number]
        height = {name: mean([found[a][1] for a, b in steps if b == name]) for name in here}
        here.sort(key=lambda name: (height[name], name))
        room = [1.0 if name in rules else POINT for name in here]
        for place, name in enumerate(here):
            middle = sum(room[:place]) + room[place] / 2 - sum(room) / 2
            found[name] = (float(number), middle)
    return found


def mean(values: list[float]) -> float:
    """Mean, 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def draw(rules: dict[str, Rule]) -> Figure:
    """The picture."""
    where = places(rules)
    count = 1 + max(x for x, _ in where.values())
    rows = [y for _, y in where.values()]
    figure = Figure(figsize=(1.75 * count, 1.0 * (max(rows) - min(rows) + 1.5)))
    FigureCanvasAgg(figure)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.set_xlim(-0.5, count - 0.5)
    axis.set_ylim(max(rows) + 1.0, min(rows) - 0.5)
    for chain in chains(rules):
        draw_arrow(axis, [where[name] for name in chain])
    for name in rules:
        x, y = where[name]
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        box = FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.05")
        box.set(facecolor=rules[name].level[1], edgecolor="#555555")
        axis.add_patch(box)
        axis.text(x, y - 0.12, name, ha="center", va="center", weight="bold", fontsize=9.5)
        axis.text(x, y + 0.14, rules[name].made, ha="center", va="center", fontsize=8)
    patches = [Patch(facecolor=colour, edgecolor="#555555") for _, colour in LEVELS.values()][::-1]
    names = [f"runs {often}" for often, _ in LEVELS.values()][::-1]
    axis.legend(patches, names, loc="lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def draw_arrow(axis: Axes, points: list[tuple[float, float]]) -> None:
    """A line from the right edge of the first box, through points, to the last one's left edge."""
    (x0, y0), *between, (x1, y1) = points
    line = [(x0 + WIDTH / 2, y0)]
    for x, y in between:
        line += [(x - WIDTH / 2, y), (x + WIDTH / 2, y)]
    axis.plot(*zip(*line, strict=True), color="#777777", linewidth=1)
    style = {"arrowstyle": "-|>", "color": "#777777", "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", xy=(x1 - WIDTH / 2, y1), xytext=line[-1], arrowprops=style)


if __name__ == "__main__":
    draw(read_rules(file_graph())).savefig(sys.argv[1], dpi=110, metadata={"Software": None})
