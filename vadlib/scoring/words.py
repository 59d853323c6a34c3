"""Why an object is called anomalous, in words."""

from collections.abc import Mapping

import numpy as np

from vadlib.scoring.calibration import rarity
from vadlib.settings import EvidenceName

WORDS: dict[EvidenceName, str] = {
    "raw": "in detail it looks as unusual as {}",
    "flow": "it moves as oddly for its looks as {}",
    "speed": "it is as fast as {}",
    "velocity": "it goes as unusual a way as {}",
    "looks": "it looks as unlike all that was seen as {}",
    "place": "it is as far from where such objects are as {}",
    "dwell": "it has been there for as long as {}",
}
WORTH_SAYING = 20
"""One in fewer is no reason."""


def reason(parts: Mapping[EvidenceName, float], objects: int) -> str:
    """A sentence from what each evidence says, unweighted, in `strangeness`: the strongest first, two at most.

    Empty where nothing is rarer than one in WORTH_SAYING. Of `objects` normal ones no share can be told that is less
    than one of them.
    """
    found = []
    for name in sorted(parts, key=lambda name: -parts[name])[:2]:
        often = rarity(name, parts[name])
        if often >= WORTH_SAYING:
            share = f"1 in {_rounded(often):,}" if often < objects else f"fewer than 1 in {_rounded(objects):,}"
            found.append(WORDS[name].format(f"{share} normal objects"))
    sentence = "; ".join(found)
    return sentence[:1].upper() + sentence[1:]


def _rounded(number: float) -> int:
    """Two significant digits: the tail says no more."""
    digits = int(np.floor(np.log10(number))) - 1
    return int(round(number / 10**digits) * 10**digits) if digits > 0 else round(number)
