"""A user's own videos, without data set or DVC."""
