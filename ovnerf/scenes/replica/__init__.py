"""Layout `replica`: one pose file for each photo (docs/conventions.md#layouts)."""
