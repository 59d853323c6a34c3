"""ONNX detectors: both families' coordinates, colours and batches, and what is said where a file cannot be used.

Where a file is needed the test writes it: a network whose cells see the mean colour of what lies below them.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vadlib.boxes.kinds import onnx_detector
from vadlib.boxes.kinds.registry import make_detector, weights_file
from vadlib.errors import VadError
from vadlib.io.files import sha256
from vadlib.manifest import Clip
from vadlib.settings import OnnxSettings, RuleSettings

CLIP = Clip("01", "testing", "data/x/testing/01.mp4", 4, 128, 64)
RED, BLUE = (255, 0, 0), (0, 0, 255)


def write(path: Path, family: str, batch: int | str = 1, side: int | str = 64, cells: int = 2) -> Path:
    """A detector of boxes of two cells, 16 px, around squares of one: red ones are class 0, blue ones class 1."""
    red, blue, full = (2, 0, 255) if family == "yolox" else (0, 2, 1)  # BGR to 255, RGB to 1
    own = 7 if family == "yolox" else 2
    weights, bias = np.zeros((own, 3, 1, 1), np.float32), np.zeros(own, np.float32)
    weights[-2, red], weights[-1, blue] = 1 / full, 1 / full
    if family == "yolox":
        bias[:5] = 0.5, 0.5, np.log(cells), np.log(cells), 1
    constants = {"weights": weights, "bias": bias, "flat": np.array([0, own, -1], np.int64)}
    nodes, parts = [], []
    for stride in (8, 16, 32):
        pool = {"kernel_shape": [stride] * 2, "strides": [stride] * 2}
        nodes += [
            helper.make_node("AveragePool", ["images"], [f"mean{stride}"], **pool),
            helper.make_node("Conv", [f"mean{stride}", "weights", "bias"], [f"seen{stride}"], kernel_shape=[1, 1]),
            helper.make_node("Reshape", [f"seen{stride}", "flat"], [f"row{stride}"]),
        ]
        parts.append(f"row{stride}")
    nodes.append(helper.make_node("Concat", parts, ["cells"], axis=2))
    if family == "yolox":
        nodes.append(helper.make_node("Transpose", ["cells"], ["output"], perm=[0, 2, 1]))
    else:
        centres = [np.mgrid[s // 2 : side : s, s // 2 : side : s][::-1].reshape(2, -1) for s in (8, 16, 32)]
        centre = np.concatenate(centres, axis=1)
        sides = np.full_like(centre, 16)
        constants["boxes"] = np.concatenate([centre, sides])[None].astype(np.float32)
        nodes.append(helper.make_node("Concat", ["boxes", "cells"], ["output"], axis=1))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, side, side])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["a", "b", "c"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def detector(path: Path, confidence: float = 0.6, **settings):
    used = OnnxSettings(weights=path.name, rules=RuleSettings(confidence=confidence), **settings)
    return make_detector(used, path.parent, Path(), [CLIP])


def frame(*squares: tuple[int, int, tuple[int, int, int]], height: int = 64, width: int = 128, side: int = 16):
    image = np.zeros((height, width, 3), np.uint8)
    for x, y, colour in squares:
        image[y : y + side, x : x + side] = colour
    return image


@pytest.mark.parametrize("batch", [1, "n"])
@pytest.mark.parametrize("family", ["yolox", "yolo"])
def test_squares_are_found_where_they_are_by_their_colour(tmp_path, family, batch):
    """A frame at half size in the square input: above for one family, in the middle for the other."""
    find = detector(write(tmp_path / "x.onnx", family, batch))
    frames = [frame((32, 16, RED), (96, 32, BLUE)), frame(), frame((112, 48, BLUE))]
    first, second, third = find(CLIP, 0, frames)
    order = np.argsort(first.cls)
    assert first.cls[order].tolist() == [0, 1]
    np.testing.assert_allclose(first.xyxy[order], [[24, 8, 56, 40], [88, 24, 120, 56]], atol=1e-3)
    np.testing.assert_allclose(first.score, 1, atol=1e-5)
    assert len(second) == 0
    np.testing.assert_allclose(third.xyxy, [[104, 40, 136, 72]], atol=1e-3)


def test_an_input_that_is_free_has_the_size_of_the_settings(tmp_path):
    """Half the frame's size and no square around it: an input of 32 x 64."""
    path = write(tmp_path / "x.onnx", "yolox", "n", "s")
    (found,) = detector(path, image_size=64)(CLIP, 0, [frame((32, 16, RED))])
    np.testing.assert_allclose(found.xyxy, [[24, 8, 56, 40]], atol=1e-3)
    (found,) = detector(path, image_size=128)(CLIP, 0, [frame((32, 16, RED), side=8)])
    np.testing.assert_allclose(found.xyxy, [[28, 12, 44, 28]], atol=1e-3)


def test_boxes_over_each_other_are_one_unless_their_classes_differ(tmp_path):
    """Squares side by side, with boxes of four cells: the overlap is 0.6 of what both cover."""
    find = detector(write(tmp_path / "x.onnx", "yolox", cells=4))
    alike, unlike, apart = find(
        CLIP, 0, [frame((32, 16, RED), (48, 16, other)) for other in (RED, BLUE)] + [frame((0, 0, RED), (112, 0, RED))]
    )
    assert (alike.cls.tolist(), sorted(unlike.cls.tolist()), apart.cls.tolist()) == ([0], [0, 1], [0, 0])


def test_what_cannot_be_used_is_one_line(tmp_path):
    with pytest.raises(VadError, match=r"mine.onnx: not found; put the file there, or name a published one: yolox_na"):
        detector(tmp_path / "mine.onnx")
    with pytest.raises(VadError, match=r"mine.pt: detector.kind: onnx takes a file \*.onnx"):
        detector(tmp_path / "mine.pt")
    (tmp_path / "text.onnx").write_bytes(b"not a network at all")
    with pytest.raises(VadError, match=r"text.onnx: not an ONNX network, or damaged"):
        detector(tmp_path / "text.onnx")
    whole = write(tmp_path / "x.onnx", "yolox").read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VadError, match=r"half.onnx: not an ONNX network, or damaged"):
        detector(tmp_path / "half.onnx")
    with pytest.raises(VadError, match=r"four.onnx: its batch is fixed at 4; export it with a batch of one"):
        detector(write(tmp_path / "four.onnx", "yolox", 4))
    other = onnx.load(tmp_path / "x.onnx")
    other.graph.output[0].CopyFrom(helper.make_tensor_value_info("seen8", TensorProto.FLOAT, list("abcd")))
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(
        VadError, match=r"other.onnx: gives .*\(1, 7, 8, 8\) for an image of 64 x 64 px; expected a det"
    ):
        detector(tmp_path / "other.onnx")


def test_the_published_file_is_fetched_and_checked(tmp_path, monkeypatch):
    made = write(tmp_path / "made.onnx", "yolox")
    settings = OnnxSettings(weights="pub.onnx")
    address = made.as_uri()
    monkeypatch.setitem(onnx_detector.PUBLISHED, "pub.onnx", (address, sha256(made)))
    assert weights_file(settings, tmp_path / "weights").read_bytes() == made.read_bytes()
    monkeypatch.setitem(onnx_detector.PUBLISHED, "pub.onnx", (address, "0" * 64))
    with pytest.raises(VadError, match=rf"pub.onnx: not found, and could not be downloaded \(.*; download {address}"):
        weights_file(settings, tmp_path / "elsewhere")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_official_yolox_finds_people(shared):
    """Of a picture from above a market: most are found, nearly all of them as people."""
    path, video = shared / "weights/yolox_nano.onnx", shared / "videos/people.mp4"
    if not (path.is_file() and video.is_file()):
        pytest.skip("yolox_nano.onnx and a video with people are not here")
    import av

    assert sha256(path) == onnx_detector.PUBLISHED["yolox_nano.onnx"][1]
    with av.open(str(video)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    (found,) = detector(path, 0.3)(CLIP, 0, [picture])
    assert (found.cls == 0).sum() >= 15
    people = found.xyxy[(found.cls == 0) & (found.xyxy[:, 3] < len(picture) - 1)]  # the lower edge cuts the others
    assert (people[:, 3] - people[:, 1] > people[:, 2] - people[:, 0]).all()  # they stand
