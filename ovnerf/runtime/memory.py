"""How much memory a stage needs, from the size of its input; too large is refused before it starts.

The sizes of a stage's inputs are read from the stores' JSON and the files' lengths; what is
computed from them is the cost model (`runtime.costs`), which the workflow also asks. On CUDA the
arrays lie on the card, so the card's memory is what must suffice; features that do not fit beside
the rest stay in the host's. Standard library only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from ovnerf.runtime.cost_constants import MB
from ovnerf.runtime.costs import megabytes, memory_parts
from ovnerf.runtime.errors import UserError
from ovnerf.runtime.job import Job, Parts
from ovnerf.storage.provenance import shipped_file

OVERRIDE = "OVNERF_MEMORY_MB"
CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
CHECKED = (
    *("propose_regions", "cache_features_part", "cache_features", "cache_dino", "rank_regions"),
    *("reconstruct", "train_shared", "train_semantics", "render_views"),
    *("fuse_points", "query", "draw_query", "export"),
)
"""Stages that are checked before they start: they take long, or grow with more than one frame."""
ASKING = ("fuse_points", "query", "draw_query", "export")
"""Those of them that read a trained field alone; its file says what frames it was trained on."""
FIELD = "field.safetensors"
FEATURES = ("features", "dino")
"""Parts that a training on CUDA can leave in the host's memory."""


def array_shape(store: Path, name: str) -> tuple[int, ...]:
    """Shape of an array of a store, from its JSON; OSError, ValueError or KeyError without one."""
    return tuple(json.loads((store / name / "zarr.json").read_text(encoding="utf-8"))["shape"])


def file_size(name: str | Path) -> int:
    """Bytes of a file named in the settings; 0 when it is not there (the stage says so)."""
    for path in (Path(name), shipped_file(name)):
        if path and path.is_file():
            return path.stat().st_size
    return 0


def weight_file(settings: Any) -> str:
    """The weight file that a section names, or that its encoder does; empty where there is none."""
    section = getattr(settings, "encoder", None) or settings
    return section.weights if getattr(section, "reads_weights", hasattr(section, "weights")) else ""


def job_of(stage: str, options: Mapping[str, Any]) -> Job:
    """A stage's job with the sizes of its inputs.

    Args:
        options: the arguments of the stage's `run`.

    Raises:
        OSError, ValueError, KeyError: an input is missing or damaged.
    """
    if stage in ASKING:
        return asking_job(stage, options)
    settings, regions = options["settings"], options.get("region_settings")
    frames, height, width, _ = array_shape(options["frames"], "rgb")
    sizes: dict[str, Any] = {}
    if "features" in options:
        sizes["embeddings"] = prod(array_shape(options["features"], "embedding"))
        sizes["classes"] = array_shape(options["features"], "text_ensemble")[0]
    if "dino" in options:
        sizes["tokens"] = prod(array_shape(options["dino"], "token"))
    for field in ("radiance", "semantics"):
        if field in options:
            sizes[field] = file_size(options[field] / FIELD)
    return Job(
        stage,
        settings,
        regions,
        frames=frames,
        height=height,
        width=width,
        weights=file_size(weight_file(regions or settings) or "."),
        gathers=bool(options.get("parts")),
        **sizes,
    )


def asking_job(stage: str, options: Mapping[str, Any]) -> Job:
    """A job that reads a trained field, with the sizes that the field's file states.

    Args:
        options: the arguments of the stage's `run`: the folder of the field, or of its run.

    Raises:
        OSError, ValueError, KeyError, TypeError: the file is missing, damaged or of an old version.
    """
    settings = options["settings"]
    if options.get("asked"):
        settings = settings.model_copy(update={"phrases": tuple(options["asked"])})
    folder = options["semantics"] if "semantics" in options else options["run"]
    alone = folder / FIELD
    file = alone if alone.is_file() else folder / "semantics" / FIELD
    run = described_run(file)
    return Job(
        stage,
        settings,
        frames=len(run["names"]),
        height=run["height"],
        width=run["width"],
        held_out=sum(part > 0 for part in run["split"]),
        semantics=file.stat().st_size,
        weights=file_size(run["encoder"].get("weights") or "."),
    )


def described_run(file: Path) -> dict[str, Any]:
    """What the file of a trained field says of its run, without its tensors (safetensors: length of
    a JSON header in 8 bytes, then the header)."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > file.stat().st_size:
            raise ValueError(f"{file}: damaged")
        about = json.loads(opened.read(length))["__metadata__"]
    return json.loads(json.loads(about["ovnerf"])["header"])["run"]


def need(stage: str, options: Mapping[str, Any]) -> Parts | None:
    """Bytes by what they are for; None for a stage that is always small, or without its input."""
    if stage not in CHECKED:
        return None
    try:
        return memory_parts(job_of(stage, options))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a damaged or missing input: the stage itself says which


def expected_mb(stage: str, options: Mapping[str, Any]) -> int | None:
    """The cost model's upper estimate for a stage's process on CPU; None as in `need`."""
    parts = need(stage, options)
    return None if parts is None else round(megabytes(parts))


def machine_mb() -> float:
    """Memory of this machine, or of the job's share of it (cgroup), in MB."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / MB]
    for path in CGROUP_LIMITS:
        try:
            limits.append(int(path.read_text(encoding="utf-8")) / MB)
        except (OSError, ValueError):  # not there, or `max`
            continue
    return min(limits)


def card_mb() -> float | None:
    """Memory of the CUDA card that a stage computes on, in MB; None on CPU."""
    if os.environ.get("OVNERF_DEVICE", "auto") == "cpu":
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_properties(0).total_memory / MB


def features_on_host(stage: str, options: Mapping[str, Any]) -> bool:
    """Whether a training on CUDA must leave its features in the host's memory."""
    parts = need(stage, options)
    return parts is not None and len(places(parts)) > 1


def places(parts: Parts) -> list[tuple[Parts, float, str]]:
    """Which parts lie where: (parts, MB found, words for the place) of this machine, or of a card.

    Features are in the host's memory only where all of a training's parts do not fit the card.
    """
    stated, card = os.environ.get(OVERRIDE), card_mb()
    if card is None:
        there = float(stated) if stated else machine_mb()
        return [(parts, there, f"stated by {OVERRIDE}" if stated else "on this machine")]
    there, where = (float(stated), f"stated by {OVERRIDE}") if stated else (card, "on the card")
    work = {part: size for part, size in parts.items() if part != "program"}
    if megabytes(work) <= there or not set(FEATURES) <= set(work):
        return [(work, there, where)]
    held = {part: parts[part] for part in ("program", *FEATURES)}
    rest = {part: size for part, size in work.items() if part not in FEATURES}
    return [(rest, there, where), (held, machine_mb(), "on this machine")]


def check_memory(stage: str, options: Mapping[str, Any]) -> None:
    """UserError, with the number it would need, when a stage cannot fit."""
    needed = need(stage, options)
    for parts, there, where in places(needed) if needed else ():
        if megabytes(parts) <= there:
            continue
        largest = max(parts, key=lambda part: parts[part])
        job = job_of(stage, options)
        raise UserError(
            f"{stage}: {job.frames} frames of {job.width}x{job.height} need about "
            f"{megabytes(parts):.0f} MB of memory, {parts[largest] / MB:.0f} of them for "
            f"{largest}; found {there:.0f} MB {where}",
            "smaller or fewer frames or grids, or more memory; "
            f"{OVERRIDE}=... overrules what is found",
        )
