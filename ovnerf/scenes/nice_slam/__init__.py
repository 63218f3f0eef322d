"""Layout `nice_slam`: Replica as rendered for SLAM (docs/datasets.md)."""
