"""Which version this is: said by `vad --version`, and written beside what is made."""

__version__ = "0.2.0"
