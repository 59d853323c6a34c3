"""Benchmarks: scripts that print ratios. The literal reading of the paper is their baseline and the tests' oracle."""
