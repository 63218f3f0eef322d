"""A live viewer of trained fields, in a browser on this machine."""
