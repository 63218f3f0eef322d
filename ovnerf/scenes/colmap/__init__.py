"""Layout `colmap`: photos and a COLMAP sparse model (docs/datasets.md)."""
