"""Scores, tables and figures: everything that looks at ground truth, and nothing that trains."""
