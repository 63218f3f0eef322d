"""The page of scores that people read first: small tables, each with what its numbers are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from ovnerf.evaluation.tables import VARIANT_ORDER, aggregates, over_seeds

SCORED = {
    "test": "Held-out views (split `test`)",
    "seen": "labelled training views (split `seen`)",
}
"""Splits of the page and what they are; split `train` is in `components.csv` alone."""
ROWS = {
    "radiance": "radiance field, before semantics",
    "clip": "first labels (`clip`)",
    "rsr": "labels after RSR (`rsr`)",
    "fused": "labels of all training views together (`fused`)",
    "rsr_truth": "true labels after RSR (`rsr_truth`)",
}
"""Source -> first cell of its line, in the order of the lines; variants of the field follow."""
TABLES = {
    ("mIoU", "pooled"): "mIoU, percent (protocol `pooled`)",
    ("accuracy", "pooled"): "Accuracy, percent of labelled pixels (protocol `pooled`)",
    ("PSNR", ""): "PSNR, dB",
    ("agreement", ""): "Agreement between views, percent (label maps: of training views)",
}
"""(metric, protocol) of the small tables -> heading."""
READING = (
    "`pooled`: one confusion matrix over all views of the split; the mIoU is the mean over the "
    "classes that occur in it. Label maps: `clip` is the class of greatest cosine per pixel (or a "
    "label map made elsewhere), `rsr` the same after region semantic ranking, `fused` what all "
    "training views vote for, `rsr_truth` the true labels after ranking: what these regions allow. "
    "A pixel without a label counts as wrong. Agreement (Cohen's kappa of the labels of pixels "
    "that show the same surface point) needs no ground truth. Fused labels and fields agree with "
    "themselves nearly everywhere, right or wrong: compare `clip` and `rsr` by it, not fields."
)
ELSEWHERE = (
    "Every score is in `metrics.csv`. `components.csv` has mIoU and accuracy by every protocol "
    "(`per_image` is what the paper prints), of training views too, and of covered pixels alone "
    "(`..._covered`); `per_class.csv` the IoU of each class; `image_quality.csv` PSNR and SSIM; "
    "`paper.csv` the published numbers beside ours; `runs.csv` seconds and memory."
)
BESIDE_PAPER = (
    "Protocol `per_image`, held-out views, percent. 3DOVS: protocol `multi_label`, on the views "
    "that have ground truth. `Average`: of the scenes above it, empty until all scenes of the "
    "dataset are there."
)
SIMULATED = (
    "An encoder named `simulated...` makes its features from ground truth plus noise: its rows "
    "study RSR and CSE and say nothing about open-vocabulary recognition."
)


def summary(long: pd.DataFrame, paper: pd.DataFrame, about: str = "") -> str:
    """The page as Markdown.

    Args:
        long: every score in long form.
        paper: published numbers beside ours, as `beside_paper` gives them.
        about: a sentence on the run that the scores do not hold, such as its regions.
    """
    rows = aggregates(long)
    rows = rows[rows["split"].isin(SCORED) | (rows["metric"] == "agreement")]
    encoders = sorted(set(long["encoder"]) - {""})
    parts = ["# Scores"]
    for encoder in encoders:
        scenes = long.loc[long["encoder"] == encoder, ["dataset", "scene"]].drop_duplicates()
        # Rows of no encoder are those of the reconstructions; only its own scenes' belong to it.
        own = rows[rows["encoder"].isin((encoder, ""))].merge(scenes, on=["dataset", "scene"])
        parts += encoder_part(own, encoder, about)
    parts += ["## How to read this", READING, ELSEWHERE]
    if any(encoder.startswith("simulated") for encoder in encoders):
        parts.append(SIMULATED)
    parts += ["## Beside the published numbers"]
    if paper.empty:
        parts.append("No scene, encoder and variant of the paper with held-out views in this run.")
    else:
        parts += [BESIDE_PAPER, markdown(paper)]
    return "\n\n".join(parts) + "\n"


def encoder_part(rows: pd.DataFrame, encoder: str, about: str) -> list[str]:
    """Heading, caption and the small tables of one encoder, those that have a score."""
    parts = [f"## Encoder `{encoder}`", caption(rows, about)]
    for (metric, protocol), heading in TABLES.items():
        table = by_scene(rows[(rows["metric"] == metric) & (rows["protocol"] == protocol)])
        if not table.empty:
            parts += [f"**{heading}**", markdown(table)]
    if len(parts) == 2:
        parts.append("No scored view.")
    return parts


def caption(rows: pd.DataFrame, about: str) -> str:
    """Which views and seeds the numbers are of, what the spread is, and `about`."""
    # Those of several radiance fields (`reconstruct.seeds`) are others.
    seeds = sorted(set(rows.loc[rows["source"] != "radiance", "seed"]) - {""}, key=int)
    views = ", ".join(words for name, words in SCORED.items() if name in set(rows["split"]))
    spread = "mean ± sample standard deviation over seeds" if len(seeds) > 1 else "seed"
    sentences = [f"{views or 'No scored views'}; {spread} {', '.join(seeds)}".strip() + "."]
    return " ".join([*sentences, about]).strip()


def by_scene(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per label map and variant, one column per scene, cells `mean ± spread`.

    Args:
        rows: scores of one metric, protocol and encoder on whole splits.
    """
    rows = rows[rows["source"].isin((*ROWS, "field"))]
    if rows.empty:
        return pd.DataFrame()
    table = over_seeds(rows, ["dataset", "scene", "split", "source", "variant"])
    names, ranks = zip(*map(named, table["source"], table["variant"]), strict=True)
    table = table.assign(method=names, rank=ranks, column=columns(table))
    cells = [cell(mean, std) for mean, std in zip(table["mean"], table["std"], strict=True)]
    wide = table.assign(cell=cells).pivot(index=["rank", "method"], columns="column", values="cell")
    order = list(dict.fromkeys(table["column"]))
    return wide[order].fillna("").reset_index("rank", drop=True).rename_axis("").reset_index()


def named(source: str, variant: str) -> tuple[str, tuple[int, int, str]]:
    """First cell of a line, and its rank: reconstruction, label maps, baseline to full method."""
    if source in ROWS:
        return ROWS[source], (0, list(ROWS).index(source), "")
    place = VARIANT_ORDER.get(variant, len(VARIANT_ORDER))
    return f"field, `{variant}`", (1, place, variant)


def columns(table: pd.DataFrame) -> pd.Series:
    """A name per scene: with its dataset where there are several, marked where it is `seen`."""
    several = table["dataset"].nunique() > 1
    names = table["dataset"] + "/" + table["scene"] if several else table["scene"]
    return names + table["split"].map({"test": "", "train": "", "seen": " (seen)"})


def cell(mean: float, std: float) -> str:
    """`54.4 ± 1.5`, or `54.4` of a single seed."""
    return f"{mean:.1f}" + ("" if pd.isna(std) else f" ± {std:.1f}")


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown; numbers with two decimals, missing ones empty."""
    lines = [line(table.columns), "|" + " --- |" * len(table.columns)]
    return "\n".join([*lines, *(line(map(text, row)) for _, row in table.iterrows())])


def text(value: Any) -> str:
    """What stands in a cell."""
    if pd.isna(value):
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def line(cells: Iterable[str]) -> str:
    """One line of a Markdown table; a `|` within a cell stays in it."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
