"""Region proposals of each view: SAM's automatic masks, in generator order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ovnerf.config import ProposeRegions
from ovnerf.encoders.weights import find_file
from ovnerf.provenance import file_digest, result_digest, unchanged
from ovnerf.regions.runlength import encode_all
from ovnerf.regions.sam import RegionProposer
from ovnerf.splits import frame_indices
from ovnerf.stores import open_store, read, write_by_frame


def run(*, frames: Path, out: Path, settings: ProposeRegions) -> dict:
    """Write a `regions` store."""
    scene = open_store(frames, "frames")
    chosen = frame_indices(scene, settings.views)
    weights = find_file(settings.weights, "propose_regions.weights")
    weights_digest = file_digest(weights)
    proposer = RegionProposer.load(settings)
    digest = result_digest(
        "propose_regions",
        settings.model_dump(mode="json"),
        {
            "frames": scene.attrs["digest"],
            "weights": weights_digest,
        },
    )

    def produce(todo: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for slot in tqdm(todo, "propose_regions", disable=None, unit="view"):
            found = proposer.propose(read(scene, "rgb", chosen[slot]))
            yield slot, {**encode_all(found.masks), "score": found.score, "area": found.area}
        unchanged(weights, weights_digest)

    write_by_frame(
        out,
        "regions",
        len(chosen),
        produce,
        {
            "frames": chosen,
            "shape": list(scene["rgb"].shape[1:3]),
            "settings": settings.model_dump(mode="json"),
            "weights": weights_digest,
        },
        digest,
        ragged=("runs", "run_count", "score", "area"),
    )
    regions = int(open_store(out, "regions")["score"].shape[0])
    return {"frames": len(chosen), "regions": regions}
