"""The one kind of error a user is meant to read; and what is told instead where work can go on without a part of it."""

from dataclasses import dataclass, field

_LONGEST = 900  # characters of a message: what damaged files claim, and is quoted, may fill pages


class VadError(Exception):
    """A problem the user can mend: one line naming the file, clip and frame, what was expected and
    found, and what to do. Commands print it without a traceback and exit with 1.

    Of a long message the middle is left out: the file is named at its beginning, the remedy at its end."""

    def __init__(self, message: str) -> None:
        if len(message) > _LONGEST:
            message = f"{message[: _LONGEST * 2 // 3]} … {message[-_LONGEST // 3 :]}"
        super().__init__(message)


class FootageError(VadError):
    """A problem of one clip alone: others can be gone on with."""


@dataclass
class Losses:
    """What of one clip could not be read. Whoever reads it goes on without, unless `strict`."""

    strict: bool = False
    frames: int = 0
    seconds: float = 0.0
    error: str = ""  # of the first loss: where, why, and what to do
    notes: list[str] = field(default_factory=list)  # what else is to be known of the clip
    _kinds: dict[str, tuple[str, int, float]] = field(default_factory=dict)

    def lose(self, kind: str, reason: str, remedy: str, frames: int = 1, seconds: float = 0.0) -> None:
        """Frames are lost, for this reason, which says where. Of many of one kind the first reason is kept.

        Raises FootageError, with the remedy, where nothing may be lost.
        """
        self.error = self.error or f"{reason}; {remedy}"
        if self.strict:
            raise FootageError(self.error)
        self.frames += frames
        self.seconds += seconds
        first, before, length = self._kinds.get(kind, (reason, 0, 0.0))
        self._kinds[kind] = (first, before + frames, length + seconds)

    @property
    def lines(self) -> list[str]:
        """For each kind of loss how much was lost, and why and where first."""
        return [
            f"{frames:,} frame{'s' * (frames != 1)} ({seconds:.2f} s) left out: {first}" if frames else first
            for first, frames, seconds in self._kinds.values()
        ]


def printable(text: str) -> str:
    """Text in one line that any terminal takes: what cannot be shown, as in odd file names, is written as escapes."""
    text = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
