"""From networks' errors to anomaly scores, and the model folder that carries all it takes."""
