"""A user's own footage: video files, or folders of images, for each split; labels are optional."""

import csv
from pathlib import Path

from vadlib.datasets.labels import labelled_ranges
from vadlib.datasets.listing import clip_paths, probe_all
from vadlib.errors import VadError
from vadlib.manifest import Clip

LAYOUT = (
    "training/<clip>.mp4, testing/<clip>.mp4 (or folders of numbered images), and, where there are labels, labels.csv "
    "with the columns clip,first,last: spans of anomalous testing frames, counted from 0, both ends included"
)
_COLUMNS = ["clip", "first", "last"]


def index(folder: Path, root: Path) -> list[Clip]:
    """Every clip; where there is a labels.csv, testing clips it does not mention are all normal."""
    training = probe_all(clip_paths(folder / "training", LAYOUT), "training", root)
    testing = probe_all(clip_paths(folder / "testing", LAYOUT), "testing", root)
    file = folder / "labels.csv"
    if not file.exists():
        return training + testing
    ranges = _read_ranges(file, {clip.name for clip in testing})
    return training + [labelled_ranges(clip, ranges.get(clip.name, ()), file, first_frame=0) for clip in testing]


def _read_ranges(file: Path, names: set[str]) -> dict[str, list[tuple[int, int]]]:
    ranges: dict[str, list[tuple[int, int]]] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream, skipinitialspace=True)
            if (header := next(rows, [])) != _COLUMNS:
                raise VadError(f"{file}: the first line must be {','.join(_COLUMNS)}, not {','.join(header)!a:.80}")
            for row in rows:
                if not row:
                    continue
                where = f"{file} line {rows.line_num}"
                if len(row) != 3 or not all(n.strip().isdecimal() and len(n) < 12 for n in row[1:]):
                    raise VadError(
                        f"{where}: expected clip,first,last with whole frame numbers, not {','.join(row)!a:.80}"
                    )
                if row[0] not in names:
                    raise VadError(f"{where}: no testing clip {row[0]!a:.80}; clips go by file name without suffix")
                ranges.setdefault(row[0], []).append((int(row[1]), int(row[2])))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise VadError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None
    return ranges
