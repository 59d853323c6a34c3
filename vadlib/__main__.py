"""`python -m vadlib` is `vad`."""

from vadlib.cli.main import main

main()
