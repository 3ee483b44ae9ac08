"""Flow matching between distributions of the plane, with each coupling: see `normal_eight.toml`."""
