"""Where and how fast networks run: device, precision, convolutions."""
