"""Draw where CLIP, its mean over regions, and the field see a phrase (paper Fig. 1).

    python -m ovnerf draw_query RUN "table" "a lamp" --out maps

RUN is the folder of a finished run, beside the features and regions that it was trained with. For
each phrase one figure: a row per view with the rendered colours and three maps of relevancy, all in
one colour scale (docs/asking.md#maps).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ovnerf.asking.description import Description, require_same_frames
from ovnerf.asking.evidence import clip_relevancy, map_figure, region_means
from ovnerf.asking.run import Run, RunFiles, open_run
from ovnerf.asking.views import View
from ovnerf.config.phrases import Phrase, parse_phrases, slugs
from ovnerf.config.query_figures import DrawQuery
from ovnerf.regions.runlength import Regions
from ovnerf.runtime.errors import UserError
from ovnerf.storage.frame_index import FrameIndex
from ovnerf.storage.listed import listed_folder
from ovnerf.storage.spread import spread_evenly
from ovnerf.storage.stores import Store, open_store

COLUMNS = ("render", "CLIP", "CLIP, mean of regions", "field")
DOTS_PER_INCH = 120


@dataclass(frozen=True)
class Evidence:
    """What a run was trained with: features and regions of its frames."""

    features: Store
    regions: Regions

    def frames(self, count: int) -> list[int]:
        """At most `count` frames that have both, evenly spread, the first among them."""
        index = FrameIndex(self.features)
        both = [frame for frame in self.regions.index.frames if frame in index]
        return spread_evenly(both, count)


def run(
    run: Path, asked: list[str] | None = None, *, out: Path, settings: DrawQuery
) -> dict[str, object]:
    """Write `{phrase}.png` to a folder; returns how many figures there are, of how many views."""
    texts = asked or list(settings.phrases)
    if not texts:
        raise UserError(
            "draw_query: found no phrase, expected at least one",
            'python -m ovnerf draw_query RUN "table" --out maps',
        )
    phrases = parse_phrases(texts, "phrase")
    opened = open_run(run)
    evidence = open_evidence(opened.files, opened.description)
    frames = evidence.frames(settings.views)
    if not frames:
        raise UserError(f"{run}: found no view with features and regions, expected at least one")
    names = [opened.description.names[frame] for frame in frames]
    views = [opened.render_frame(name) for name in tqdm(names, "draw_query", disable=None)]
    with listed_folder(out, "draw_query") as folder:
        for phrase, slug in zip(phrases, slugs(phrases), strict=True):
            panels = list(panels_of(opened, evidence, phrase, frames, views))
            figure = map_figure(dict(zip(names, panels, strict=True)), COLUMNS, phrase.notation)
            path = folder / f"{slug}.png"
            figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
    return {"figures": len(phrases), "views": len(frames)}


def open_evidence(files: RunFiles, description: Description) -> Evidence:
    """The features and regions of a run; UserError where they are not there, or another scene's."""
    found = {"features.zarr": files.features, "regions.zarr": files.regions}
    for name, path in found.items():
        if path is None:
            raise UserError(
                f"{files.folder}: found no {name} of the run, expected the layout of results",
                "name a run inside the folder of results that it was made in",
            )
    features, regions = (open_store(path, path.stem) for path in found.values() if path is not None)
    for store in (features, regions):
        if list(store.attrs["shape"]) != [description.height, description.width]:
            raise UserError(
                f"{store.store_path}: made from frames of another size than {description.source}",
                "train again with the frames that are there now",
            )
    if files.frames is not None:
        require_same_frames(open_store(files.frames, "frames"), description)
    return Evidence(features, Regions(regions))


def panels_of(
    opened: Run,
    evidence: Evidence,
    phrase: Phrase,
    frames: Sequence[int],
    views: Sequence[View],
) -> Iterator[list[np.ndarray]]:
    """The panels of each view, in the order of `COLUMNS`."""
    index = FrameIndex(evidence.features)
    for frame, view in zip(frames, views, strict=True):
        seen = clip_relevancy(opened.asker, phrase, evidence.features, index.slot(frame))
        (score,) = opened.asker.view_scores([phrase], view)
        rendered = np.where(view.opacity > 0, score, np.float32(np.nan))
        yield [view.rgb, seen, region_means(seen, evidence.regions.masks(frame)), rendered]
