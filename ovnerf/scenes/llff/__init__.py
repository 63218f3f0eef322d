"""Layout `llff`: 3DOVS scenes and other LLFF captures (docs/datasets.md)."""
