"""Cameras, rays and similarities between coordinate frames."""
