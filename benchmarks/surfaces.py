"""Points and mesh of a trained field in a toy room, against the room's own surfaces.

    python -m benchmarks.surfaces results/demo/room0/toy/ovnerf/seed0 results/demo/room1/...

The distance of a point is that to the nearest of `TRUE_POINTS` points drawn on the surfaces, which
lie millimetres apart. Coverage is the share of the surfaces, hidden ones included, with one of the
drawn points within 5 cm; a class is right where the nearest surface is a thing of that name.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from benchmarks.objects import room_of
from ovnerf.asking.mesh import make_mesh
from ovnerf.asking.run import open_run
from ovnerf.config.export import Export
from ovnerf.toy.rooms import Room

TRUE_POINTS = 6_000_000
DRAWN = 30_000
"""Points of the field that are compared, and surface points that are looked for among them."""
NEAR = 0.05
"""Metres."""
LEAST_VIEWS = (1, 2, 3, 4, 5)


class Surfaces:
    """Points on the surfaces of a room, f64 (n, 3), in random order, with a tree to search them."""

    def __init__(self, room: Room, count: int) -> None:
        self.xyz, face = trimesh.sample.sample_surface(room.mesh, count, seed=0)
        names = np.array([item.name for item in room.objects])
        self.name = names[room.part_object[room.face_part[face]]]
        self.tree = cKDTree(self.xyz)


def distances(off: np.ndarray) -> str:
    """Median, the distance that 90 % keep, and the share within 5 cm; metres in."""
    middle, most = 1000 * np.quantile(off, [0.5, 0.9])
    return f"{middle:.0f} mm | {most:.0f} mm | {100 * (off < NEAR).mean():.0f} %"


def cloud_lines(
    xyz: np.ndarray, name: np.ndarray, views: np.ndarray, surfaces: Surfaces
) -> list[str]:
    """Rows of the table: points f64 (n, 3), class names (n,), numbers of views that see them."""
    off, nearest = surfaces.tree.query(xyz)
    right = (surfaces.name[nearest] == name)[off < NEAR]
    lines = [f"| points | {distances(off)} | {100 * right.mean():.1f} % of these have its class |"]
    for least in LEAST_VIEWS:
        seen = views >= least
        away, _ = cKDTree(xyz[seen]).query(surfaces.xyz[:DRAWN], distance_upper_bound=NEAR)
        covered = f"{100 * np.isfinite(away).mean():.0f} % covered"
        lines.append(f"| seen by {least} or more | {distances(off[seen])} | {covered} |")
    return lines


def mesh_line(folder: Path, surfaces: Surfaces) -> str:
    """Row of the mesh that `export` writes, points drawn by area."""
    run = open_run(folder)
    mesh = make_mesh(run.field, run.description, run.points, Export())
    whole = trimesh.Trimesh(mesh.vertex, mesh.face, process=False)
    drawn, _ = trimesh.sample.sample_surface(whole, DRAWN, seed=0)
    return f"| mesh, by area | {distances(surfaces.tree.query(drawn)[0])} | |"


def main() -> None:
    """Print a table for each run."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.surfaces",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, nargs="+", help="folder of a run of a toy room")
    for folder in parser.parse_args().run:
        points = open_run(folder).points
        surfaces = Surfaces(room_of(folder), TRUE_POINTS)
        drawn = np.random.default_rng(0).choice(len(points), min(DRAWN, len(points)), replace=False)
        names = np.array(points.classes)[points.label[drawn]]
        print(f"\n{folder}: {len(points)} points\n")
        print("| | median distance | 90 % within | within 5 cm | |\n|---|---|---|---|---|")
        cloud = points.xyz[drawn].astype(np.float64), names, points.views[drawn]
        for line in (*cloud_lines(*cloud, surfaces), mesh_line(folder, surfaces)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
