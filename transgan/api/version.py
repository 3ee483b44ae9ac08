"""The version of what plugins import: a plugin says which one it is made for, `requires_api = 1`."""

VERSION = 1
"""Rises where something that a plugin may use is removed or changes; what is added does not raise it."""
