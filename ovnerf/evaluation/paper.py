"""The published numbers (docs/method.md#published-numbers) and our rows that they belong beside."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

PUBLISHED = Path(__file__).with_name("paper_tables.csv")

ENCODERS = {"CLIP": "clip", "OpenCLIP": "openclip", "LSeg": "lseg", "FC-CLIP": "fcclip"}
"""The paper's feature extractor -> our encoder name (config/encoders)."""

METHODS = {
    "baseline": "baseline",
    "RSR": "rsr",
    "CSE": "cse",
    "RSR+CSE": "ovnerf",
    "OV-NeRF": "ovnerf",
    "LERF": "lerf",
    "3DOVS": "3dovs",
    "DFF": "dff",
    "FC-CLIP": "fcclip",
    "w/o CSE": "rsr",
    "w CSE (no RSR on pseudo maps)": "cse_unranked",
}
"""The paper's method -> our variant name."""

ABLATIONS = {
    "T=8000": "t8k",
    "T=12000": "t12k",
    "N=500": "n500",
    "N=2500": "n2500",
    "N=5000": "n5000",
}
"""Settings of tables VII and VIII that differ from the full model (T=10000, N=1000)."""

AVERAGE = "Average"
"""Scene of the published means over the scenes of one table."""

METRICS = {"mIoU": "mIoU", "mAcc": "accuracy"}
"""The paper's mAcc is pixel accuracy averaged over images (docs/method.md#per-image)."""


DEVIATIONS: dict[str, str] = {
    "lerf": "TensoRF geometry, frozen; a head that is affine in the feature and interpolated "
    "between scales, normalised per ray only; one distance per ray for its scale; this project's "
    "windows at three scales in place of seven tile sizes; unit DINO ViT-B/8 tokens; Adam by this "
    "project's schedule. The closed list is our rule: each class at its best scale of the view, "
    "then the greatest relevancy. Scores by mean cosine are source `field_cosine` in metrics.csv.",
    "3dovs": "text vectors as of all other variants (the original: bare names); DINO tokens of "
    "whole photos; rays of full length; photos are not made smaller before the windows. It may "
    "collapse to few classes: `dominant_share` in `train.csv` is the commonest class's share.",
    "dff": "rendered through the frozen density, not from joint training; LSeg in one pass at the "
    "photo's size, kept as means of cells; an affine head on a TensoRF volume; Adam by this "
    "project's schedule.",
    "fcclip": "label maps of the user's FC-CLIP run, without soft probabilities; cross-entropy and "
    "colour are the only losses, since the paper does not say which accompanied it.",
}
"""Variant -> how our form of a compared system differs from the published one."""


def printed() -> pd.DataFrame:
    """`published` with two more columns, `setting` and `method`, as the paper prints them."""
    rows = pd.read_csv(PUBLISHED)
    setting = rows["setting"].str.split(";", expand=True).reindex(columns=[0, 1])
    return pd.DataFrame(
        {
            "table": rows["table"],
            "dataset": rows["dataset"].str.lower(),
            "scene": rows["scene"],
            "encoder": setting[0].map(ENCODERS),
            "variant": setting[1].map(ABLATIONS).fillna(rows["method"].map(METHODS)),
            "metric": rows["metric"].map(METRICS),
            "paper": rows["value"],
            "setting": setting[0],
            "method": rows["method"] + setting[1].map("; {}".format, na_action="ignore").fillna(""),
        }
    )


def published() -> pd.DataFrame:
    """Columns table, dataset, scene, encoder, variant, metric, paper; our names, percent."""
    return printed().drop(columns=["setting", "method"])
