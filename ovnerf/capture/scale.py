"""How large a reconstruction is: from one known distance, or by a rule of thumb."""

from __future__ import annotations

import numpy as np
import pycolmap

from ovnerf.capture.mapping import registered_names, viewing_depths
from ovnerf.config.capture import KnownDistance, Place
from ovnerf.runtime.errors import UserError

USUAL_DEPTH = 2.0
"""Median distance of what a camera in a room sees, in metres; used where no distance is known."""
NEAREST = 0.03
"""A named pixel must have a reconstructed point within this share of the longer side."""


def scale_of(model: pycolmap.Reconstruction, distance: KnownDistance | None) -> float:
    """Factor from the model's units to metres, or to what `USUAL_DEPTH` makes of them.

    Raises:
        UserError: a named photo is not in the model, or no point is near a named pixel.
    """
    if distance is None:
        return USUAL_DEPTH / float(np.median(viewing_depths(model)))
    first, second = (point_at(model, place) for place in (distance.first, distance.second))
    length = float(np.linalg.norm(first - second))
    if length == 0:
        raise UserError(
            f"distance: found one point near both {place_text(distance.first)} and "
            f"{place_text(distance.second)}, expected two",
            "name ends that are farther apart",
        )
    return distance.metres / length


def place_text(place: Place) -> str:
    """A place in words."""
    return f"{place[0]} ({place[1]:g}, {place[2]:g})"


def point_at(model: pycolmap.Reconstruction, place: Place) -> np.ndarray:
    """f64 (3,): the reconstructed point that is seen nearest to a pixel of a photo."""
    name, column, row = place
    photo = model.find_image_with_name(name)
    if photo is None or not photo.has_pose:
        names = registered_names(model)
        raise UserError(
            f"distance: found no photo {name} with a pose, expected one of {names[0]} ... "
            f"{names[-1]}",
            "look into `images/` of the scene folder",
        )
    seen = list(photo.get_observation_points2D())
    away = np.array([np.hypot(*(point.xy - (column, row))) for point in seen])
    camera = model.cameras[photo.camera_id]
    if not len(away) or away.min() > NEAREST * max(camera.width, camera.height):
        nearest = f"the nearest is {away.min():.0f} pixels away" if len(away) else "it has none"
        raise UserError(
            f"distance: found no reconstructed point near {place_text(place)}; {nearest}",
            "name a corner or a spot with a pattern, which other photos show, too",
        )
    return np.asarray(model.points3D[seen[int(away.argmin())].point3D_id].xyz)
