"""Layout `nerfstudio`: photos and one `transforms.json` (docs/datasets.md)."""
