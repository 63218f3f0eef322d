"""Scene readers: a folder in a known layout -> frames and labels (docs/conventions.md)."""
