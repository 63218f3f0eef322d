"""Class names, void, and region semantic ranking (RSR)."""
