"""Clips: read and written with their sound, and networks and losses that know the order of frames."""
