"""From a video or photos to a scene folder with camera poses (docs/capturing.md)."""
