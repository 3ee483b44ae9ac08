"""Watching a run: diagnostics of a step, faults and how they are detected, the guardian that acts, advice in words."""
