"""Dense optical flow of every frame: t -> t+1, in pixels per frame."""
