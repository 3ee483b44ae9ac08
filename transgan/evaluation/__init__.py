"""Evaluation on held-out samples: metrics, previews, effects of conditions, and whole models."""
