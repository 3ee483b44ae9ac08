"""How many digits can be read after they were translated: see `__main__.py`."""
