"""What a scene folder holds, shown to a person before a run."""
