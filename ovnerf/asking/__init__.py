"""Asking a trained field: its points, phrases, answers in 3D and their scores."""
