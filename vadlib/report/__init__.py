"""One self-contained HTML page about a scored data set or video: works from disk, and asks nothing of the network."""
