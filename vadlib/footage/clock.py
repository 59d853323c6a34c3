"""When a recording was made, where its name says so, as recorders name files: nothing else that a file says is sure."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from vadlib.clips import is_image_file
from vadlib.io.names import natural_key

_DAY = r"(?<!\d)(?P<Y>(?:19|20)\d\d)(?P<d1>[-_.]?)(?P<m>\d\d)(?P=d1)(?P<d>\d\d)"
_TIME = r"(?P<M>\d\d)(?:(?P=s1)|m)(?P<S>\d\d)"
# A fraction of three digits may follow.
_NAME = re.compile(_DAY + r"[-_.T @]{0,3}(?P<H>\d\d)(?P<s1>[-_.:h]?)" + _TIME + r"(?!\d\d?(?!\d))")
# The time of a file in a folder of a day: six digits alone may be a number as well.
_FOLDER = re.compile(_DAY + r"/[^/\d]*(?P<H>\d\d)(?P<s1>[-_.:h])" + _TIME + r"(?!\d)")


def begin_of(source: Path | Iterable[Path]) -> datetime | None:
    """The clock time that footage begins at, as its name, or its first image's, has it: a day and a time to the second.

    `cam1_20260131_081500.mp4`, `2026-01-31T08-15-00.mp4` and `2026-01-31/08-15-00.mp4` have one. None where there is
    none, and of images that are still coming. The mark of creation in a file is no such thing: it is often of a copy.
    """
    if not isinstance(source, Path):
        source = source[0] if isinstance(source, Sequence) and source else Path()
    elif source.is_dir():
        images = [path for path in source.iterdir() if not path.name.startswith(".") and is_image_file(path)]
        source = min(images, key=lambda path: natural_key(path.name), default=source)
    source = source.absolute()
    below = f"{source.parent.name}/{source.stem}"
    for found in (*_NAME.finditer(source.stem), *_NAME.finditer(source.parent.name), *_FOLDER.finditer(below)):
        try:
            return datetime(*(int(found[part]) for part in ("Y", "m", "d", "H", "M", "S")))  # type: ignore[arg-type]
        except ValueError:  # the 30th of February, 25 o'clock
            continue
    return None
