"""Frames as an MP4 that a browser plays, written as they come."""

from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.error import ExternalError

from vadlib.errors import VadError
from vadlib.io.files import is_disk_full

TICKS = 90_000  # of the video's clock, a second
KEYFRAMES = 25  # frames at most between two: as much as a kill can cost


class Mp4(AbstractContextManager["Mp4"]):
    """Writes frames to an H.264 MP4.

    The file is fragmented: what was written before a kill, up to the last second or so, plays. Frames keep their times.
    Raises VadError where the disk is full, or there is not enough memory. Without a frame there is no file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._container: av.container.OutputContainer | None = None
        self._last = -1  # time of the frame before, in TICKS

    def write(self, time: float, picture: np.ndarray) -> None:
        """Encode the next frame: uint8 (h, w, 3), RGB, both sides even, `time` seconds after the video's beginning."""
        try:
            container = self._container or self._open(picture.shape[1], picture.shape[0])
            encoded = av.VideoFrame.from_ndarray(picture, format="rgb24")
            # Times that stand still would be refused.
            self._last = max(round(time * TICKS), self._last + 1)
            encoded.pts, encoded.time_base = self._last, Fraction(1, TICKS)
            container.mux(self._stream.encode(encoded))
        except (OSError, ExternalError) as error:
            raise self._refused(error) from error

    def _open(self, width: int, height: int) -> av.container.OutputContainer:
        self._container = av.open(
            str(self._path.absolute()),
            "w",
            format="mp4",
            options={"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"},
        )
        self._stream = self._container.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "23"})
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS)
        self._stream.codec_context.gop_size = KEYFRAMES
        self._stream.codec_context.max_b_frames = 0  # they delay a fragmented file's times by two frames
        return self._container

    def _refused(self, error: Exception) -> Exception:
        if is_disk_full(error):
            return VadError(f"{self._path}: the disk is full; free some space and run the same command again")
        if isinstance(error, ExternalError):  # all that x264 says where it cannot have what it asks for
            return VadError(
                f"{self._path}: the H.264 encoder could not begin: there is not enough memory, or frames of "
                f"{self._stream.width}x{self._stream.height} are too large for it; close other programs and run the "
                "same command again"
            )
        return error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container is None:
            return
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except (OSError, ExternalError) as late:
            if error is None:
                raise self._refused(late) from late
