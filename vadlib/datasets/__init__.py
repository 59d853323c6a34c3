"""Data sets: from a folder in one of the known layouts to a manifest of clips with their labels."""
