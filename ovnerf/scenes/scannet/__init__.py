"""Layout `scannet`: scenes exported by the dataset's tool, or `.sens` files (docs/datasets.md)."""
