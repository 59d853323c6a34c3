"""`python -m vadlib` is `vad`."""

from vadlib.cli import main

main()
