"""Measuring: a training step, the data, translating, starting, checkpoints; two settings of a recipe in pairs."""
