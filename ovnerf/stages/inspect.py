"""Look at a scene folder: layout, cameras, overlap of the views, classes; draws a contact sheet.

    python -m ovnerf inspect my_scene --out my_scene.png

Not a rule of the workflow. The layout is recognised; `--layout` reads the folder as that one.
"""

from __future__ import annotations

from pathlib import Path

from ovnerf.inspection.overview import look, report
from ovnerf.inspection.sheet import contact_sheet
from ovnerf.storage.atomic import atomic_file


def run(
    folder: Path, *, out: Path = Path("inspect.png"), layout: str = "", classes: str = ""
) -> dict[str, object]:
    """Print what was found and write the sheet (PNG)."""
    overview = look(folder, layout, classes)
    print("\n".join(report(overview)))
    with atomic_file(out) as temporary:
        contact_sheet(overview).savefig(temporary, dpi=80, format="png")
    return {
        "layout": overview.listing.layout,
        "frames": len(overview.listing.names),
        "dropped": len(overview.listing.dropped),
        "classes": len(overview.classes),
        "labelled": sum(label is not None for label in overview.listing.labels),
        "sheet": str(out),
    }
