"""A page on which a mask is drawn over a frame: one file, for any browser, without a server."""

import base64
import html
from pathlib import Path

import cv2

from vadlib.clips import read_footage
from vadlib.errors import FootageError, Losses
from vadlib.footage.find import LeftOut, find_footage
from vadlib.io.files import write_text

PAGE = Path(__file__).parent / "page/draw_mask.html"


def write_mask_page(footage: Path, output: Path) -> None:
    """Leave a page with the first frame of the first clip there, which saves what is drawn on it as `mask.json`.

    Raises FootageError where no frame can be read, VadError where somebody else's file is at `output`.
    """
    for clip in find_footage([footage], LeftOut(quiet=True)):
        for _, image in read_footage(clip.source, clip.name, 25.0, Losses()):
            _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            page = PAGE.read_text(encoding="utf-8").replace("{name}", html.escape(clip.name))
            write_text(output, page.replace("{picture}", base64.b64encode(encoded.tobytes()).decode()))
            return
    raise FootageError(f"{footage}: no frame there to draw on; expected a video, an image, or a folder of either")
