"""Points of a field against the surfaces of a toy room."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.surfaces import Surfaces, cloud_lines, distances
from ovnerf.toy import furniture
from ovnerf.toy.furniture import Part
from ovnerf.toy.rooms import Placed, Room, build_room


def test_distances_by_hand() -> None:
    off = np.array([0.0, 0.01, 0.02, 0.03, 0.06])
    # 90 % lie within 0.9 x 4 = 3.6 steps: 0.03 and 0.6 of the way to 0.06.
    assert distances(off) == "20 mm | 48 mm | 80 %"


def test_points_lie_on_the_surfaces_of_their_objects() -> None:
    room = build_room(0)
    surfaces = Surfaces(room, 20_000)
    assert set(surfaces.name) == {item.name for item in room.objects}
    floor = surfaces.xyz[surfaces.name == "floor"]
    low, high = room.mesh.bounds
    assert np.all((surfaces.xyz >= low - 1e-9) & (surfaces.xyz <= high + 1e-9))
    # The floor is a slab 10 cm thick; its upper and its lower side are as large.
    assert (np.abs(floor[:, 2]) < 1e-9).mean() == pytest.approx(0.5, abs=0.03)


def test_a_cloud_off_the_table_by_hand() -> None:
    room = Room(
        0, (1, 1, 1), (Placed("table", (Part(furniture.box((0, 0, 0), (1, 1, 1)), None),)),), ()
    )
    surfaces = Surfaces(room, 200_000)
    cloud = np.array([[0.5, 0.5, 1.04], [0.5, 0.5, 1.2]])
    lines = cloud_lines(cloud, np.array(["table", "lamp"]), np.array([1, 5]), surfaces)
    # One point of two is near; it has the class of the table. The far one covers nothing.
    assert lines[0].startswith("| points | 120 mm | 184 mm | 50 % | 100.0 %")
    assert lines[1].endswith("| 0 % covered |") and lines[2].startswith(
        "| seen by 2 or more | 200 mm"
    )
