"""From a scene and an encoder to a `features` store: the embeddings of every view's windows.

Frames are read in a thread while earlier ones are encoded. Neighbouring frames whose windows fit
into one batch of the network are encoded together. Which frames form such a group depends on their
slots alone, so a run that goes on after a kill, and several jobs that make a part each, write the
same bytes as one undisturbed run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ovnerf.config.features import (
    CacheFeatures,
    DenseClip,
    LSeg,
    OpenClip,
    Precomputed,
    Simulated,
)
from ovnerf.encoders.dense import Cells, cell_means, cells_of
from ovnerf.encoders.pyramid import window_boxes, window_grids, window_scales
from ovnerf.encoders.simulated import check_truth, no_truth, simulated_embeddings, simulated_text
from ovnerf.encoders.text import TextBanks, text_banks
from ovnerf.geometry.lens import photo_lens
from ovnerf.runtime.errors import UserError
from ovnerf.runtime.prefetch import prefetch
from ovnerf.storage.by_frame import write_by_frame
from ovnerf.storage.finite import binary16, require_finite
from ovnerf.storage.provenance import digest, file_digest, result_digest, unchanged
from ovnerf.storage.sizes import resize_labels
from ovnerf.storage.splits import frame_indices
from ovnerf.storage.stores import Store, open_store, open_truth, read
from ovnerf.storage.weight_loading import find_file

Load = Callable[[int], Any]
"""Frame index -> what is encoded; called ahead, in a thread of its own."""
Embed = Callable[[Sequence[int], Sequence[Any], Sequence[np.ndarray]], Sequence[np.ndarray]]
"""(frame indices, what was loaded, boxes (W, 4) of each) -> raw embeddings (W, D) of each."""
BY_FRAME = ("embedding", "box", "label")
"""Arrays of the store that go on from frame to frame."""
ALONE = 1
"""`Source.together` of encoders that take one frame at a time."""
NOT_FINITE = "replace that file, or mend that setting; nothing is made of such numbers"
"""What to do about features that are not finite."""


@dataclass(frozen=True)
class Source:
    """Where embeddings come from.

    Attributes:
        origin: the file, folder or setting that they come from, for messages.
        load, embed: make them.
        banks: text vectors.
        frames: indices of the frames that are embedded.
        cells: the windows of a dense encoder; None for those of the settings.
        inputs: digests of what they are made from, besides the frames.
        files: the files among them, by their names in `inputs`.
        together: windows that fit into one batch; frames with fewer windows share batches.
        label: what was loaded, and its embeddings -> u16 (H, W) first labels at image size, for
            encoders that say them themselves; stored beside the embeddings.
    """

    origin: str
    load: Load
    embed: Embed
    banks: TextBanks
    frames: list[int]
    cells: Cells | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    together: int = ALONE
    label: Callable[[Any, np.ndarray], np.ndarray] | None = None

    def groups(
        self, numbers: Sequence[int], size: int, boxes_of: Callable[[int], np.ndarray]
    ) -> Iterator[tuple[list[int], list[Any], list[np.ndarray]]]:
        """Groups of frames that are encoded together: slots, what was loaded, window boxes.

        Args:
            numbers: which groups; group n holds the slots from n * size on, the last fewer.
            boxes_of: frame -> boxes (W, 4).
        """
        for number in numbers:
            slots = range(number * size, min((number + 1) * size, len(self.frames)))
            frames = [self.frames[slot] for slot in slots]
            yield [*slots], [*map(self.load, frames)], [*map(boxes_of, frames)]

    def arrays(
        self, name: str, loaded: Any, embedding: np.ndarray, box: np.ndarray
    ) -> dict[str, np.ndarray]:
        """The store's arrays of one frame; UserError when embeddings (`name`) are not finite."""
        arrays = {"embedding": binary16(embedding, self.origin, name, NOT_FINITE), "box": box}
        return arrays if self.label is None else {**arrays, "label": self.label(loaded, embedding)}

    def model_files(self) -> dict[str, str]:
        """sha256 of the encoder's weight file and model config, by these words; empty without."""
        return {name: self.inputs[name] for name in ("weights", "model") if name in self.inputs}

    def check_files(self) -> None:
        """UserError when a file is no longer what it was when its digest was taken."""
        for name, path in self.files.items():
            unchanged(path, self.inputs[name])


def write_windows(
    frames: Path, out: Path, settings: CacheFeatures, truth: Path | None, part: int | None = None
) -> dict[str, Any]:
    """Write the `features` store of a scene, or the store of one of its `settings.parts` parts.

    A part's attributes say which slots of the scene's store it holds (`part`: first, last + 1, how
    many there are) and the digest that the scene's store will have (`whole`);
    `storage.parts.gather_stores` joins the parts.
    """
    encoder = settings.encoder
    if encoder is None:
        raise UserError("cache_features.encoder: found none", "name a file of config/encoders")
    scene = open_store(frames, "frames")
    height, width = scene["rgb"].shape[1:3]
    names = scene.attrs["names"]
    source = open_source(scene, settings, truth)
    require_finite(source.origin, source.banks.arrays(), NOT_FINITE)
    windows = source.cells or settings
    grids = window_grids(height, width, windows.scales, windows.stride, windows.jitter)
    per_frame = sum(grid.count for grid in grids)
    group, total = max(1, source.together // per_frame), len(source.frames)
    first, last = (0, total) if part is None else part_range(total, group, part, settings.parts)

    def boxes_of(frame: int) -> np.ndarray:
        return window_boxes(height, width, grids, settings.seed, frame)

    def produce(todo: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        wanted = set(todo)
        groups = source.groups(sorted({(first + slot) // group for slot in todo}), group, boxes_of)
        with tqdm(total=len(todo), desc="cache_features", disable=None, unit="view") as bar:
            for slots, data, boxes in prefetch(groups):
                found = source.embed([source.frames[slot] for slot in slots], data, boxes)
                for slot, content, raw, box in zip(slots, data, found, boxes, strict=True):
                    if slot - first in wanted:
                        name = f"embeddings of frame {names[source.frames[slot]]}"
                        bar.update()
                        yield slot - first, source.arrays(name, content, raw, box)
        source.check_files()

    inputs = {"frames": scene.attrs["digest"], **source.inputs}
    all_frames = result_digest("cache_features", settings, inputs, exclude={"parts"})
    attributes = {
        "frames": source.frames[first:last],
        "encoder": encoder.model_dump(mode="json"),
        "encoder_files": source.model_files(),
        "classes": scene.attrs["classes"],
        "shape": [height, width],
        **window_attributes(windows),
    }
    if part is not None:
        attributes |= {"part": [first, last, total], "whole": all_frames}
    write_by_frame(
        out,
        "features",
        last - first,
        produce,
        attributes,
        all_frames if part is None else digest({"whole": all_frames, "part": [first, last]}),
        constant={"scale": window_scales(grids), **source.banks.arrays()},
    )
    return {"frames": last - first, "windows": per_frame, "width": len(source.banks.blank)}


def window_attributes(windows: Cells | CacheFeatures) -> dict[str, Any]:
    """What a store says of its windows: sides, stride and jitter (`window_grids`)."""
    return {
        "scales": list(windows.scales),
        "stride": windows.stride,
        "jitter": windows.jitter,
    }


def part_range(total: int, group: int, part: int, parts: int) -> tuple[int, int]:
    """First frame and last + 1 of a part; groups of frames that are encoded together stay whole.

    >>> [part_range(10, 3, part, 3) for part in range(3)]
    [(0, 3), (3, 6), (6, 10)]
    """
    if not 0 <= part < parts:
        raise UserError(f"part: found {part}, expected 0 to {parts - 1} (`cache_features.parts`)")
    groups = -(-total // group)
    if parts > groups:
        raise UserError(
            f"cache_features.parts: found {parts}, expected at most {groups}: the scene has "
            f"{total} frames, {group} of which are encoded together",
            "use fewer parts",
        )
    begin, end = (number * groups // parts * group for number in (part, part + 1))
    return begin, min(end, total)


def open_source(scene: Store, settings: CacheFeatures, truth: Path | None) -> Source:
    """The settings' encoder; UserError when a file of it is missing or does not fit."""
    encoder = settings.encoder
    view_frames = frame_indices(scene, settings.views)
    if isinstance(encoder, OpenClip):
        files = encoder_files(encoder)
        inputs = digests_of(files)
        model = files.get("model", encoder.model)
        embed, banks = openclip_embed(scene, model, files["weights"], settings.batch)
        load = photos(scene)
        origin = str(files["weights"])
        return Source(origin, load, embed, banks, view_frames, None, inputs, files, settings.batch)
    if isinstance(encoder, (DenseClip, LSeg)):
        return dense_source(scene, encoder, settings.batch, view_frames)
    if isinstance(encoder, Precomputed):
        return precomputed_source(scene, encoder, view_frames)
    if truth is None:
        raise no_truth("cache_features.truth")
    assert isinstance(encoder, Simulated)
    view_frames = frame_indices(scene, "train")
    labels = open_truth(truth, scene)
    check_truth(read(labels, "label", view_frames), len(scene.attrs["classes"]), str(truth))
    return simulated_source(scene, encoder, labels, view_frames)


def photos(scene: Store) -> Load:
    """Reads u8 (H, W, 3) frames."""
    return lambda frame: read(scene, "rgb", frame)


def one_by_one(embed: Callable[[int, Any, np.ndarray], np.ndarray]) -> Embed:
    """An encoder that takes one frame at a time."""

    def every(
        frames: Sequence[int], loaded: Sequence[Any], boxes: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        return [embed(*one) for one in zip(frames, loaded, boxes, strict=True)]

    return every


def openclip_embed(
    scene: Store, model: str | Path, weights: Path, batch: int
) -> tuple[Embed, TextBanks]:
    """Window embeddings and text banks of an open_clip model (`OpenClipEncoder`)."""
    from ovnerf.encoders.openclip import OpenClipEncoder

    encoder = OpenClipEncoder(model, weights)

    def embed(
        frames: Sequence[int], loaded: Sequence[Any], boxes: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        found = encoder.encode_crops(loaded, boxes, batch)
        return [embedding.numpy() for embedding in found]

    return embed, text_banks(scene.attrs["classes"], encoder.encode_text)


def encoder_files(encoder: OpenClip | DenseClip | LSeg) -> dict[str, Path]:
    """The files that define an encoder: weights, and model config and proxy where it names them."""
    files = {"weights": find_file(encoder.weights, "encoder.weights")}
    if not isinstance(encoder, LSeg) and encoder.model.endswith(".json"):
        files["model"] = find_file(encoder.model, "encoder.model")
    if isinstance(encoder, DenseClip) and encoder.proxy_weights:
        files["proxy"] = find_file(encoder.proxy_weights, "encoder.proxy_weights")
    return files


def digests_of(files: dict[str, Path]) -> dict[str, str]:
    """sha256 of each file; taken before it is used, so that a change during the run shows."""
    return {name: file_digest(path) for name, path in files.items()}


def simulated_embed(scene: Store, settings: Simulated) -> tuple[Embed, TextBanks]:
    """Window embeddings and text banks made from ground truth."""
    banks = simulated_text(len(scene.attrs["classes"]), settings)

    def embed(frame: int, label: np.ndarray, box: np.ndarray) -> np.ndarray:
        return simulated_embeddings(label, box, frame, banks.bare, settings)

    return one_by_one(embed), banks


def simulated_source(
    scene: Store, settings: Simulated, labels: Store, view_frames: list[int]
) -> Source:
    """Embeddings made from ground truth: of windows, or of cells with their label maps."""
    embed, banks = simulated_embed(scene, settings)
    height, width = scene["rgb"].shape[1:3]
    cells = cells_of(height, width, settings.cell) if settings.cell else None

    def label(truth: np.ndarray, embedding: np.ndarray) -> np.ndarray:
        assert cells is not None
        (grid,) = cells.grids(height, width)
        found = (embedding @ banks.bare.T).argmax(1).reshape(grid.rows, grid.columns)
        whole = found.repeat(grid.side, 0).repeat(grid.side, 1)[:height, :width]
        return whole.astype(np.uint16)

    return Source(
        "cache_features.encoder",
        lambda frame: read(labels, "label", frame),
        embed,
        banks,
        view_frames,
        cells,
        inputs={"truth": labels.attrs["digest"]},
        label=label if settings.label_map else None,
    )


def dense_encoder(settings: DenseClip | LSeg, files: dict[str, Path], batch: int) -> Any:
    """An encoder with `features` and `encode_text`."""
    if isinstance(settings, LSeg):
        from ovnerf.encoders.lseg import LSegEncoder

        return LSegEncoder.load(files["weights"])
    from ovnerf.encoders.dense_clip import DenseClipEncoder
    from ovnerf.encoders.dino import DinoEncoder
    from ovnerf.encoders.openclip import OpenClipEncoder

    clip = OpenClipEncoder(files.get("model", settings.model), files["weights"])
    proxy = DinoEncoder.load(settings.proxy_model, files["proxy"]) if "proxy" in files else None
    return DenseClipEncoder(clip, settings.attention, settings.sigma, settings.side, batch, proxy)


def dense_source(
    scene: Store, settings: DenseClip | LSeg, batch: int, view_frames: list[int]
) -> Source:
    """Cell features and text banks of an encoder with a feature per pixel."""
    height, width = scene["rgb"].shape[1:3]
    cells = cells_of(height, width, settings.cell)
    files = encoder_files(settings)
    inputs = digests_of(files)
    encoder = dense_encoder(settings, files, batch)
    (grid,) = cells.grids(height, width)

    def embed(frame: int, photo: np.ndarray, box: np.ndarray) -> np.ndarray:
        features = encoder.features(photo)
        return cell_means(features, height, width, grid).cpu().numpy()

    banks = text_banks(scene.attrs["classes"], encoder.encode_text)
    origin, load = str(files["weights"]), photos(scene)
    return Source(origin, load, one_by_one(embed), banks, view_frames, cells, inputs, files)


def precomputed_source(scene: Store, settings: Precomputed, view_frames: list[int]) -> Source:
    """Cell features and text vectors of maps made elsewhere; of label maps the labels, too."""
    from ovnerf.encoders.precomputed import map_files, read_manifest

    height, width = scene["rgb"].shape[1:3]
    cells = cells_of(height, width, settings.cell)
    (grid,) = cells.grids(height, width)
    names = list(scene.attrs["names"])
    wanted = [names[frame] for frame in view_frames]
    classes, lens = list(scene.attrs["classes"]), photo_lens(scene.attrs)
    maps = read_manifest(Path(settings.folder), classes, wanted, lens)

    def load(frame: int) -> np.ndarray:
        return maps.read(names[frame], height, width)

    def embed(frame: int, found: np.ndarray, box: np.ndarray) -> np.ndarray:
        features = maps.features(found)
        return cell_means(features, height, width, grid).numpy()

    def label(found: np.ndarray, embedding: np.ndarray) -> np.ndarray:
        return resize_labels(found, (height, width))

    for frame in view_frames:
        load(frame)  # a bad one is found before anything is written
    files = map_files(maps)
    return Source(
        settings.folder,
        load,
        one_by_one(embed),
        maps.banks(),
        view_frames,
        cells,
        digests_of(files),
        files,
        label=label if maps.kind == "labels" else None,
    )
