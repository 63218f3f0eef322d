"""Device, threads and matrix products: how numbers are computed."""
