"""Point clouds and triangle meshes as binary PLY files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

TYPES = {"f8": "double", "f4": "float", "i4": "int", "u4": "uint", "u2": "ushort", "u1": "uchar"}
"""PLY's names of number types."""
FACE = np.dtype([("count", "u1"), ("vertices", "<i4", 3)])


def write_ply(
    path: Path,
    columns: Mapping[str, np.ndarray],
    comments: Sequence[str] = (),
    faces: np.ndarray | None = None,
) -> None:
    """Write a point cloud, or the vertices of a mesh and its triangles.

    Args:
        columns: name of each property -> its values (n,), in the order of the file.
        comments: one line each; characters that would end a line are replaced by blanks.
        faces: integers (m, 3), three vertices of each triangle.
    """
    layout = [(name, values.dtype.newbyteorder("<")) for name, values in columns.items()]
    rows = np.empty(len(next(iter(columns.values()))), dtype=layout)
    for name, values in columns.items():
        rows[name] = values
    header = ["ply", "format binary_little_endian 1.0"]
    header += [f"comment {' '.join(text.split())}" for text in comments]
    header += [f"element vertex {len(rows)}"]
    header += [f"property {TYPES[kind.str[1:]]} {name}" for name, kind in layout]
    triangles = np.empty(0 if faces is None else len(faces), dtype=FACE)
    if faces is not None:
        triangles["count"], triangles["vertices"] = 3, faces
        header += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    text = "\n".join([*header, "end_header", ""])
    # PLY headers are ASCII; other letters are escaped.
    with path.open("wb") as file:
        file.write(text.encode("ascii", "backslashreplace"))
        file.write(rows.tobytes())
        file.write(triangles.tobytes())
