"""Object boxes of every frame: appearance boxes, then motion boxes for what was missed (paper III-A)."""
