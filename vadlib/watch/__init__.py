"""Live cameras: read, scored and told of as they are, for days."""
