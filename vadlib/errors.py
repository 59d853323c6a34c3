"""The one kind of error a user is meant to read."""


class VadError(Exception):
    """A problem the user can mend: one line naming the file, clip and frame, what was expected and
    found, and what to do. Commands print it without a traceback and exit with 1."""
