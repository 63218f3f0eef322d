"""Errors, progress, memory, locks, prefetching: nothing here changes a result."""
