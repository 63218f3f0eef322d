"""SIFT features of every photo, and matches between photos, in COLMAP's database.

Both go on where an earlier process was stopped: what is in the database is not computed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pycolmap

from ovnerf.capture.colmap import database, threads
from ovnerf.capture.pairs import Pair
from ovnerf.capture.shots import stop_if_wanted
from ovnerf.config.capture import Capture
from ovnerf.runtime import progress
from ovnerf.runtime.errors import UserError
from ovnerf.storage.atomic import atomic_file

FOCAL_GUESS = 0.85
"""Focal length over the longer side where EXIF does not say it: phones have 0.7 to 0.85, and
COLMAP refines it."""
FAINT = 0.001
"""Least contrast of features in photos that show little (COLMAP's own is 0.0067)."""
CHUNK = 100
"""Pairs matched between two looks at whether the stage was asked to end."""


def add_photos(
    path: Path, images: Path, names: Sequence[str], focal: float | None, settings: Capture
) -> None:
    """Enter photos into the database, all with one camera; nothing where all are there already.

    A database that holds some of them was left by a process that was killed meanwhile: it is made
    anew, because COLMAP aborts when it adds photos with one camera to others.

    Args:
        images: folder of the photos.
        names: of the photos there, as `colmap_name` writes them.
        focal: focal length over the longer side where it is known.
    """
    options = pycolmap.ImageReaderOptions()
    options.camera_model = settings.camera
    options.default_focal_length_factor = FOCAL_GUESS
    if focal:
        height, width = read_grey(images / names[0]).shape
        camera = pycolmap.Camera.create_from_model_name(
            1, settings.camera, focal * max(width, height), width, height
        )
        # Stated parameters count as known: COLMAP starts from them and trusts them more.
        options.camera_params = camera.params_to_string()
    with database(path) as opened:
        entered = {image.name for image in opened.read_all_images()}
    if entered == set(names):
        return
    for file in path.parent.glob(f"{path.name}*"):  # SQLite's journal lies beside it
        file.unlink()
    with database(path):  # an empty one, which the import expects
        pass
    pycolmap.import_images(
        path, images, camera_mode=pycolmap.CameraMode.SINGLE, image_names=names, options=options
    )


def read_grey(path: Path) -> np.ndarray:
    """u8 (H, W) of a photo that is kept."""
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise UserError(f"{path}: not a readable image", f"remove {path.parent.parent}")
    return grey


def extractor(features: int, contrast: float | None = None) -> pycolmap.FeatureExtractor:
    """Finds at most so many SIFT features, of at least this contrast (COLMAP's own by default)."""
    options = pycolmap.FeatureExtractionOptions()
    options.num_threads, options.use_gpu = threads(), False
    options.sift.max_num_features = features
    if contrast:
        options.sift.peak_threshold = contrast
    return pycolmap.FeatureExtractor.create(options, pycolmap.Device.cpu)


def add_features(path: Path, images: Path, settings: Capture) -> None:
    """SIFT features of the photos that have none in the database yet.

    Where a photo has fewer than half of `features`, it gets fainter ones, too: bare walls and plain
    furniture have few others (docs/capturing.md#faint-features).
    """
    usual, faint = extractor(settings.features), extractor(settings.features, FAINT)
    with database(path) as opened:
        photos = sorted(opened.read_all_images(), key=lambda image: image.name)
        todo = [image for image in photos if not opened.exists_descriptors(image.image_id)]
        progress.begin("capture: features", "photos", len(photos), len(photos) - len(todo))
        for image in todo:
            stop_if_wanted()
            grey = read_grey(images / image.name)
            points, descriptors = usual.extract_from_uint8_array(grey)
            if len(points) < settings.features / 2:
                points, descriptors = faint.extract_from_uint8_array(grey)
            with pycolmap.DatabaseTransaction(opened):
                opened.write_keypoints(image.image_id, pycolmap.keypoints_to_matrix(points))
                opened.write_descriptors(image.image_id, descriptors)
            progress.advance()


def read_descriptors(path: Path) -> dict[str, np.ndarray]:
    """u8 (k, 128) of each photo, by name, sorted."""
    with database(path) as opened:
        photos = sorted(opened.read_all_images(), key=lambda image: image.name)
        return {image.name: opened.read_descriptors(image.image_id).data for image in photos}


def add_matches(path: Path, pairs: Sequence[Pair], seed: int) -> None:
    """Match pairs of photos and keep what fits one geometry."""
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads, matching.use_gpu = threads(), False
    geometry = pycolmap.TwoViewGeometryOptions()
    geometry.ransac.random_seed = seed
    listed = path.with_name("pairs.txt")
    progress.begin("capture: matches", "pairs", len(pairs))
    for start in range(0, len(pairs), CHUNK):
        stop_if_wanted()
        chunk = pairs[start : start + CHUNK]
        with atomic_file(listed) as temporary:
            temporary.write_text(
                "".join(f"{one} {other}\n" for one, other in chunk), encoding="utf-8"
            )
        options = pycolmap.ImportedPairingOptions()
        options.match_list_path = listed
        pycolmap.match_image_pairs(path, matching, options, geometry, pycolmap.Device.cpu)
        progress.advance(len(chunk))
