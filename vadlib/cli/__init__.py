"""The command line: `vad`, and what every stage's command shares with it."""
