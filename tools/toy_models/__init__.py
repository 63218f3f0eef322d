"""Training and measuring of the three toy foundation models that ship with the package."""
