"""Spatio-temporal context cubes: cut, kept on disk, read back."""
