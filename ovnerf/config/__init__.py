"""Settings of every stage, one module for each group; `run` joins them into a whole config."""
