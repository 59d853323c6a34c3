"""Where flow comes from: a module for each kind of estimator, and a line in `registry`."""
