"""The embedded data set: a rendered street with exact labels."""
