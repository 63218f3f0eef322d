"""Wide tables, derived from the long rows of all scenes and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ovnerf.evaluation.csv_files import read_csv, require_numbers
from ovnerf.evaluation.paper import AVERAGE, published
from ovnerf.evaluation.rows import COLUMNS, COVERED
from ovnerf.runtime.errors import UserError

KEY = [column for column in COLUMNS if column != "value"]
RUN = ["dataset", "scene", "encoder", "source", "variant", "split"]
LABEL_MAPS = ("clip", "rsr", "fused", "rsr_truth")
SOURCES = (
    "radiance",
    *(name + part for name in LABEL_MAPS for part in ("", COVERED)),
    "field",
    "field_cosine",
)
SOURCE_ORDER = {name: rank for rank, name in enumerate(SOURCES)}
VARIANT_ORDER = {"baseline": 0, "rsr": 1, "cse": 2, "ovnerf": 3}
"""From nothing to both components; other variants follow by name."""
PRINTED = {"3dovs": "multi_label"}
"""Protocol of the paper's numbers, by dataset, where it is not `per_image`."""
OF_HELD_OUT_VIEWS = ("replica", "scannet")
"""Datasets of the paper whose printed scores are of held-out views."""
PUBLISHED_RUN = ["dataset", "encoder", "variant", "metric"]
"""What a published number and ours share besides the scene."""
SAME = 0.01
"""Two jobs may render the shared reconstruction and differ in the last digits."""


def read_long(paths: Sequence[Path]) -> pd.DataFrame:
    """All rows, text columns as text, in one fixed order, shared rows once.

    Raises:
        UserError: a file that is not there, without the columns or with a value that is no number,
            or two different values for one score.
    """
    hint = "rerun evaluate or score_labels"
    parts = []
    for path in paths:
        part = read_csv(path, hint, dtype=dict.fromkeys(KEY, str), keep_default_na=False)
        if list(part.columns) != list(COLUMNS):
            raise UserError(
                f"{path}: found columns {', '.join(part.columns)}, expected {', '.join(COLUMNS)}",
                hint,
            )
        parts.append(part.assign(value=require_numbers(path, part["value"], hint)))
    long = pd.concat(parts, ignore_index=True)
    long = long.sort_values([*KEY, "value"], kind="stable", ignore_index=True)
    values = long.groupby(KEY, sort=False)["value"].agg(["min", "max"])
    differ = values[values["max"] > values["min"] + SAME]
    if len(differ):
        name = "/".join(part for part in differ.index[0] if part)
        raise UserError(
            f"score {name}: found two different values in the given files, expected one",
            "results of different runs are mixed; rerun evaluate",
        )
    return long.drop_duplicates(KEY, ignore_index=True)


def aggregates(long: pd.DataFrame) -> pd.DataFrame:
    """Rows that stand for a whole split."""
    return long[(long["frame"] == "") & (long["class"] == "")]


def over_seeds(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """mean, std (sample, empty for one seed) and number of seeds of `value` per `keys`."""
    groups = rows.groupby(list(keys), sort=True)["value"]
    return groups.agg(mean="mean", std="std", seeds="size").reset_index()


def widen(table: pd.DataFrame, index: Sequence[str], name: pd.Series) -> pd.DataFrame:
    """One line per `index`: seeds, then `<name>_mean` and `<name>_std` for each name."""
    if table.empty:
        return pd.DataFrame(columns=[*index, "seeds"])
    named = table.assign(name=name)
    wide = named.pivot(index=list(index), columns="name", values=["mean", "std"])
    wide.columns = [f"{metric}_{part}" for part, metric in wide.columns]
    metrics = list(dict.fromkeys(named["name"]))
    order = [f"{metric}_{part}" for metric in metrics for part in ("mean", "std")]
    seeds = named.groupby(list(index))["seeds"].max()
    return in_order(wide[order].assign(seeds=seeds)[["seeds", *order]].reset_index())


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Scenes together; within one, from reconstruction over label maps to the full method."""
    ranked = table.assign(
        source_rank=table["source"].map(SOURCE_ORDER),
        variant_rank=table["variant"].map(VARIANT_ORDER).fillna(len(VARIANT_ORDER)),
    )
    keys = ["dataset", "scene", "encoder", "split", "source_rank", "variant_rank", "variant"]
    ordered = ranked.sort_values(keys, kind="stable", ignore_index=True)
    return ordered[table.columns]


def components(long: pd.DataFrame) -> pd.DataFrame:
    """mIoU and accuracy by both protocols, mean and std over seeds (percent)."""
    rows = aggregates(long)
    rows = rows[rows["metric"].isin(("mIoU", "accuracy"))]
    table = over_seeds(rows, [*RUN, "protocol", "metric"])
    table = table.sort_values(["protocol", "metric"], ascending=False, ignore_index=True)
    return widen(table, RUN, table["protocol"] + "_" + table["metric"])


def per_class(long: pd.DataFrame) -> pd.DataFrame:
    """Pooled IoU per class, mean and std over seeds (percent)."""
    table = over_seeds(long[long["metric"] == "IoU"], [*RUN, "class"])
    table = table.rename(columns={"mean": "pooled_IoU_mean", "std": "pooled_IoU_std"})
    columns = [*RUN, "class", "seeds", "pooled_IoU_mean", "pooled_IoU_std"]
    return in_order(table[columns])


def image_quality(long: pd.DataFrame) -> pd.DataFrame:
    """PSNR (dB) and SSIM of held-out views, mean and std over seeds."""
    rows = aggregates(long)
    table = over_seeds(rows[rows["metric"].isin(("PSNR", "SSIM"))], [*RUN, "metric"])
    return widen(table, RUN, table["metric"])


def beside_paper(long: pd.DataFrame) -> pd.DataFrame:
    """Published numbers that have a run of ours: same dataset, scene, encoder and variant.

    Our numbers: protocol `per_image`, held-out views (what the paper says it prints); protocol
    `multi_label` for 3DOVS scenes (Table V). Beside a published average over scenes stands the
    average of ours when every scene that it covers is there; with some of them its cells are empty.
    """
    joined = with_ours(published(), scores_as_printed(long))
    scenes_there = joined.groupby(["table", *PUBLISHED_RUN])["ours_mean"].transform("count")
    kept = joined["ours_mean"].notna() | ((joined["scene"] == AVERAGE) & (scenes_there > 0))
    joined = joined[kept].astype({"seeds": "Int64"})
    return joined.assign(difference=joined["ours_mean"] - joined["paper"])


def scores_as_printed(long: pd.DataFrame) -> pd.DataFrame:
    """Scores of fields on whole splits by the protocol that the paper prints; datasets lower case.

    The protocol is `multi_label` for 3DOVS scenes, else `per_image`. The paper prints scores of
    held-out views of all other datasets, so views that were trained on (`seen`) are left out there.
    """
    rows = aggregates(long)
    rows = rows.assign(dataset=rows["dataset"].str.lower())
    protocol = rows["dataset"].map(PRINTED).fillna("per_image")
    trained_on = (rows["split"] == "seen") & rows["dataset"].isin(OF_HELD_OUT_VIEWS)
    return rows[(rows["protocol"] == protocol) & (rows["source"] == "field") & ~trained_on]


def with_ours(paper: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Published numbers with columns ours_mean, ours_std and seeds, empty where we have no run.

    Args:
        paper: the published numbers, with our names.
        rows: as `scores_as_printed` gives them.
    """
    scores = pd.concat([rows, scene_averages(rows, paper)])
    ours = over_seeds(scores, [*PUBLISHED_RUN, "scene"])
    ours = ours.rename(columns={"mean": "ours_mean", "std": "ours_std"})
    return paper.merge(ours, on=[*PUBLISHED_RUN, "scene"], how="left")


def scene_averages(rows: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """The mean over scenes of every run and seed that has all scenes with a published number.

    Args:
        rows: scores of whole splits, datasets in lower case.
        paper: the published numbers.

    Returns:
        Rows of scene `Average`: columns PUBLISHED_RUN, scene, seed, value.
    """
    single = paper[paper["scene"] != AVERAGE].drop_duplicates([*PUBLISHED_RUN, "scene"])
    wanted = single.groupby(PUBLISHED_RUN).size().rename("wanted").reset_index()
    found = single.merge(rows, on=[*PUBLISHED_RUN, "scene"])
    means = found.groupby([*PUBLISHED_RUN, "seed"])["value"].agg(value="mean", there="size")
    means = means.reset_index().merge(wanted, on=PUBLISHED_RUN)
    complete = means[means["there"] == means["wanted"]]
    return complete.assign(scene=AVERAGE)[[*PUBLISHED_RUN, "scene", "seed", "value"]]
