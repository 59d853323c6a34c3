"""Where boxes come from: a module for each kind of detector, and a line in `registry`."""
