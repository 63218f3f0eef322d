"""Draw the paper's figures of one scene: the compared systems side by side on held-out views.

For each figure that the scene has two runs of or more, `<figure>_<frame name>.png` of the first
`VIEWS` held-out views, with the photo and the ground truth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ovnerf.config.paper import PaperTables
from ovnerf.evaluation.figures import in_file_name, panel_figure, save
from ovnerf.evaluation.paper_figures import figures_of
from ovnerf.runtime.errors import UserError
from ovnerf.storage.frame_index import FrameIndex
from ovnerf.storage.listed import listed_folder
from ovnerf.storage.stores import Store, open_store, open_truth, read

VIEWS = 2


def run(
    *,
    frames: Path,
    views: list[Path],
    names: str,
    out: Path,
    settings: PaperTables,
    truth: Path | None = None,
) -> dict[str, Any]:
    """Draw into the folder `out`; returns how many files.

    Args:
        names: `encoder/variant` of each of `views`, comma separated.
        settings: their `encoders` say which stand in for the paper's.
    """
    runs = [tuple(name.split("/", 1)) for name in names.split(",")]
    if len(runs) != len(views):
        raise UserError(f"--views: found {len(views)} paths for {len(runs)} names {names}")
    photos = open_store(frames, "frames")
    known = open_truth(truth, photos) if truth else None
    stores = {run: open_store(path, "views") for run, path in zip(runs, views, strict=True)}
    figures = figures_of(runs, settings.encoders)  # type: ignore[arg-type]
    with listed_folder(out, "draw_paper") as folder:
        for figure, members in figures.items():
            shown = {"/".join(run): stores[run] for run in members}
            for frame in FrameIndex(next(iter(shown.values()))).frames[:VIEWS]:
                name = photos.attrs["names"][frame]
                panels = {"photo": read(photos, "rgb", frame)}
                if known is not None:
                    panels["ground truth"] = read(known, "label", frame)
                panels |= {title: label_of(store, frame) for title, store in shown.items()}
                drawn = panel_figure(panels, list(photos.attrs["classes"]), name)
                save(drawn, folder / f"{figure}_{in_file_name(name)}.png")
        files = len(list(folder.iterdir()))
    return {"figures": len(figures), "files": files}


def label_of(store: Store, frame: int) -> Any:
    """The label map u16 (H, W) of a frame in a `views` store."""
    return read(store, "label", FrameIndex(store).slot(frame))
