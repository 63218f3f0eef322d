"""Layout `semantic_nerf`: one trajectory file (docs/conventions.md#layouts)."""
