"""Files and stores: reading, writing under a temporary name, digests, weight files."""
