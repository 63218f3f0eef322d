"""Tables I to VIII in the paper's own layout: our score, the published one, the difference.

A line for each encoder and method, a column for each scene and metric, in the paper's order.
Stand-ins put other scenes and encoders in the places of the paper's; then no published number is
shown.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ovnerf.config.paper import PaperTables
from ovnerf.evaluation.paper import AVERAGE, DEVIATIONS, METRICS, printed
from ovnerf.evaluation.summary import cell, markdown
from ovnerf.evaluation.tables import PRINTED, scores_as_printed, with_ours

DASH = "-"
"""Stands where we have no run, or the paper no number."""
LIFT = "lift"
"""Variant of the rule of this name."""
OF_SYSTEMS = ("I", "II", "III", "IV", "V")
"""Tables that compare systems, not parts of one."""
PRINTED_METRICS = {ours: theirs for theirs, ours in METRICS.items()}
READING = (
    "Cells: {cells}, in percent{spread}. A dash: no such run, or for `Average` not all "
    "of its scenes. Our `Average` is the mean over the scenes of this table."
)
STAND_IN = (
    "**Stand-ins.** Other scenes and encoders stand in the places of the paper's, so no published "
    "number is shown and nothing here is a result of the paper: {pairs}."
)
CSV_COLUMNS = [
    *("table", "setting", "method", "dataset", "scene", "encoder", "variant", "metric"),
    *("ours_mean", "ours_std", "seeds", "published", "difference", "note"),
]


def paper_tables(long: pd.DataFrame, settings: PaperTables) -> dict[str, pd.DataFrame]:
    """Every number of the asked tables, in the paper's order, with ours beside it.

    Args:
        long: every score in long form.

    Returns:
        By table: columns CSV_COLUMNS; `ours_mean` and what follows from it empty without a run.
    """
    paper, scores = with_stand_ins(printed(), settings), scores_as_printed(long)
    if LIFT in set(scores["variant"]):
        paper = pd.concat([paper, lines_of_lift(paper)], ignore_index=True)
    joined = with_ours(paper, scores).astype({"seeds": "Int64"})
    joined = joined.rename(columns={"paper": "published"})
    joined = joined.assign(
        difference=joined["ours_mean"] - joined["published"],
        note=[DEVIATIONS.get(name, "") for name in joined["variant"]],
        metric=joined["metric"].map(PRINTED_METRICS),
    )
    return {name: joined.loc[joined["table"] == name, CSV_COLUMNS] for name in settings.tables}


def lines_of_lift(paper: pd.DataFrame) -> pd.DataFrame:
    """Lines without published numbers, below the systems of tables I to V: no training at all."""
    systems = paper[(paper["variant"] == "ovnerf") & paper["table"].isin(OF_SYSTEMS)]
    return systems.assign(variant=LIFT, method="lifted, no training", paper=float("nan"))


def with_stand_ins(paper: pd.DataFrame, settings: PaperTables) -> pd.DataFrame:
    """The published numbers under the names of stand-ins and without values, if there are any.

    Scenes and encoders without a stand-in are left out. `Average` stays, once per dataset.
    """
    if not (settings.scenes or settings.encoders):
        return paper
    places = paper["dataset"] + "/" + paper["scene"]
    of_datasets: dict[str, str] = {}
    for place, stand_in in settings.scenes.items():
        of_datasets.setdefault(place.partition("/")[0], stand_in.partition("/")[0].lower())
    scenes = places.map({place: name.partition("/")[2] for place, name in settings.scenes.items()})
    renamed = paper.assign(
        paper=float("nan"),
        dataset=paper["dataset"].map(of_datasets),
        scene=scenes.where(paper["scene"] != AVERAGE, AVERAGE),
        encoder=paper["encoder"].map(settings.encoders),
    )
    return renamed.dropna(subset=["dataset", "scene", "encoder"])


def as_markdown(name: str, table: pd.DataFrame, settings: PaperTables) -> str:
    """A table of `paper_tables` as a page: caption, the table in the paper's layout, notes.

    Args:
        name: number of the table.
    """
    several = bool((table["seeds"].fillna(0) > 1).any())
    spread = "; ours: mean ± sample standard deviation over seeds" if several else ""
    protocol = PRINTED.get("3dovs") if name == "V" and not settings.scenes else "per_image"
    stand_ins = {**settings.scenes, **settings.encoders}
    cells = "ours" if stand_ins else "ours / published / difference"
    reading = READING.format(cells=cells, spread=spread)
    parts = [f"# Table {name}", f"Protocol `{protocol}`. {reading}"]
    if stand_ins:
        pairs = ", ".join(f"`{ours}` for {theirs}" for theirs, ours in stand_ins.items())
        parts.append(STAND_IN.format(pairs=pairs))
    marks = footnote_marks(table)
    nothing = "No scene with an encoder of this table has a stand-in."
    parts.append(nothing if table.empty else markdown(in_layout(table, marks)))
    parts += [f"[{mark}] `{name}`: {DEVIATIONS[name]}" for name, mark in marks.items()]
    return "\n\n".join(parts) + "\n"


def footnote_marks(table: pd.DataFrame) -> dict[str, str]:
    """Variant -> letter of its note, for variants that differ from the published system."""
    noted = [name for name in dict.fromkeys(table["variant"]) if name in DEVIATIONS]
    return {name: chr(ord("a") + number) for number, name in enumerate(noted)}


def in_layout(table: pd.DataFrame, marks: Mapping[str, str]) -> pd.DataFrame:
    """One line for each encoder and method, one column for each scene and metric."""
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in table.to_dict("records"):
        mark = marks.get(str(row["variant"]))
        method = f"{row['method']} [{mark}]" if mark else str(row["method"])
        key = str(row["setting"]), method
        first = {"Encoder": key[0], "Method": method, "Run": f"`{row['encoder']}/{row['variant']}`"}
        column = f"{row['scene']} {row['metric']}"
        lines.setdefault(key, first)[column] = cell_text(row)
    return pd.DataFrame(list(lines.values())).fillna(DASH)


def cell_text(row: Mapping[str, float]) -> str:
    """`ours / published / difference`; ours alone where nothing is published."""
    ours, published = row["ours_mean"], row["published"]
    own = DASH if pd.isna(ours) else cell(ours, row["ours_std"])
    if pd.isna(published):
        return own
    difference = DASH if pd.isna(ours) else f"{row['difference']:+.1f}"
    return f"{own} / {published:.1f} / {difference}"
