"""Boxes computed elsewhere: each kind of file, and what is refused in it."""

import json
from pathlib import Path

import numpy as np
import pytest

from vadlib.boxes.kinds.registry import make_detector
from vadlib.errors import VadError
from vadlib.manifest import Clip
from vadlib.settings import ImportedBoxesSettings

CLIPS = [
    Clip("01", "training", "data/x/training/frames/01", 3, 100, 60),
    Clip("01", "testing", "data/x/testing/frames/01", 2, 100, 60),
    Clip("02", "testing", "data/x/testing/frames/02", 3, 100, 60),
]


def found(folder: Path, boxes: str, clip: Clip) -> list:
    settings = ImportedBoxesSettings(boxes=boxes)
    detector = make_detector(settings, Path("weights"), folder, CLIPS)
    return [b.xyxy.tolist() for b in detector(clip, 0, [None] * clip.frames)]


def arrays(*frames) -> np.ndarray:
    held = np.empty(len(frames), dtype=object)
    for number, boxes in enumerate(frames):
        held[number] = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return held


def test_npy_holds_the_frames_of_a_split_in_clip_order(tmp_path):
    np.save(
        tmp_path / "b_test_x.npy",
        arrays([[0, 0, 9, 9]], [], [[1, 1, 5, 5], [2, 2, 6, 6]], [], [[3, 3, 7, 7]]),
    )
    assert found(tmp_path, "b_{split}_x.npy", CLIPS[1]) == [[[0, 0, 9, 9]], []]
    assert found(tmp_path, "b_{split}_x.npy", CLIPS[2]) == [[[1, 1, 5, 5], [2, 2, 6, 6]], [], [[3, 3, 7, 7]]]


SAME = [[[frame, 1, 9, 9], [2, 2, 6 + frame, 6]] for frame in range(5)]  # as many boxes in every frame


@pytest.mark.parametrize(
    ("saved", "expected"),
    [
        (np.array(SAME, np.float32), SAME),
        (np.array(SAME, np.int64), SAME),
        (np.array(SAME)[:, :1].astype(np.float64), [boxes[:1] for boxes in SAME]),
        (np.asfortranarray(np.array(SAME, np.float32)), SAME),
        (np.array(SAME, object), SAME),  # what `np.array(list_of_arrays, dtype=object)` makes of them
        (np.array([np.array(boxes, np.float32) + 0.5 for boxes in SAME], object), np.add(SAME, 0.5).tolist()),
        (np.zeros((5, 0, 4)), [[]] * 5),  # no frame has any
        (np.array([[]] * 5), [[]] * 5),
        (np.empty((5, 0, 4), object), [[]] * 5),
    ],
)
def test_npy_of_the_same_number_in_every_frame_is_one_array_and_read(tmp_path, saved, expected):
    np.save(tmp_path / "testing.npy", saved, allow_pickle=True)
    assert found(tmp_path, "{split}.npy", CLIPS[1]) + found(tmp_path, "{split}.npy", CLIPS[2]) == expected


def test_npy_of_one_array_that_holds_no_boxes_names_clip_and_frame(tmp_path):
    for saved in (np.zeros((5, 2, 5)), np.zeros((5, 4)), np.zeros((5, 2, 4), bool)):
        np.save(tmp_path / "testing.npy", saved)
        with pytest.raises(VadError, match=r"clip 01, frame 0: expected numbers of shape \(n, 4\), found"):
            found(tmp_path, "{split}.npy", CLIPS[1])
    np.save(tmp_path / "testing.npy", np.zeros(5))
    with pytest.raises(VadError, match=r"expected an array for each frame, found dtype float64 of shape \(5,\)"):
        found(tmp_path, "{split}.npy", CLIPS[1])


def test_npy_must_have_as_many_frames_as_the_split(tmp_path):
    np.save(tmp_path / "testing.npy", arrays([], [], [], []))
    with pytest.raises(VadError, match=r"testing\.npy: boxes of 4 frames, but the split's clips have 5 frames"):
        found(tmp_path, "{split}.npy", CLIPS[1])


def test_npy_of_another_shape_names_clip_and_frame(tmp_path):
    held = arrays([], [], [], [], [])
    held[3] = np.zeros((2, 5), np.float32)
    np.save(tmp_path / "testing.npy", held)
    with pytest.raises(VadError, match=r"clip 02, frame 1: expected numbers of shape \(n, 4\), found float32"):
        found(tmp_path, "{split}.npy", CLIPS[1])


def test_npy_of_a_whole_data_set_is_refused(tmp_path):
    np.save(tmp_path / "all.npy", arrays(*[[]] * 8))
    with pytest.raises(VadError, match=r"needs \{split\}"):
        found(tmp_path, "all.npy", CLIPS[0])


def test_csv_rows_need_no_order_and_frames_no_rows(tmp_path):
    rows = ["clip,frame,x1,y1,x2,y2,score", "02,2,1,1,5,5,0.5", "01,0,0,0,9,9,0.25", "02,0,2,2,6,6,1"]
    (tmp_path / "testing.csv").write_text("\n".join(rows))
    settings = ImportedBoxesSettings(boxes="{split}.csv")
    detector = make_detector(settings, Path(), tmp_path, CLIPS)
    one, two, three = detector(CLIPS[2], 0, [None] * 3)
    assert (one.xyxy.tolist(), len(two), three.xyxy.tolist()) == ([[2, 2, 6, 6]], 0, [[1, 1, 5, 5]])
    assert three.score.tolist() == [0.5]
    assert three.cls.tolist() == [-1]
    assert three.source.tolist() == ["imported"]
    # The same rows where they are asked for frame by frame.
    assert detector(CLIPS[2], 2, [None])[0].xyxy.tolist() == [[1, 1, 5, 5]]


def test_csv_for_both_splits_names_the_split_where_it_must(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("clip,frame,x1,y1,x2,y2\ntraining/01,1,0,0,9,9\ntesting/01,1,1,1,8,8\n02,0,2,2,7,7\n")
    assert found(tmp_path, "boxes.csv", CLIPS[0]) == [[], [[0, 0, 9, 9]], []]
    assert found(tmp_path, "boxes.csv", CLIPS[1]) == [[], [[1, 1, 8, 8]]]
    assert found(tmp_path, "boxes.csv", CLIPS[2]) == [[[2, 2, 7, 7]], [], []]
    path.write_text("clip,frame,x1,y1,x2,y2\n01,1,0,0,9,9\n")
    with pytest.raises(VadError, match="'01' is in both splits; write training/01 or testing/01"):
        found(tmp_path, "boxes.csv", CLIPS[0])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("02,1,nan,0,9,9", "line 2, clip 02, frame 1: x1 is nan, not a number"),
        ("02,1,0,0,inf,9", "x2 is inf, not a number"),
        ("02,1,0,wide,9,9", "y1 is wide, not a number"),
        ("02,1.5,0,0,9,9", "frame is 1.5, not a whole number"),
        ("02,1,9,0,9,9", "clip 02, frame 1: box (9, 0, 9, 9): expected x1 < x2 and y1 < y2"),
        ("02,1,0,9,9,3", "expected x1 < x2 and y1 < y2"),
        ("02,1,100,0,120,9", "outside the frame of 100x60 px"),
        ("02,1,0,-9,9,0", "outside the frame of 100x60 px"),
        ("02,3,0,0,9,9", "clip 02, frame 3: box (0, 0, 9, 9): the clip has frames 0 to 2"),
        ("02,-1,0,0,9,9", "the clip has frames 0 to 2"),
        ("07,0,0,0,9,9", "clip '07' is not in the data set; its clips: 01, 02"),
    ],
)
def test_bad_row_is_named(tmp_path, row, problem):
    (tmp_path / "testing.csv").write_text(f"clip,frame,x1,y1,x2,y2\n{row}\n")
    with pytest.raises(VadError) as error:
        found(tmp_path, "{split}.csv", CLIPS[1])
    assert problem in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "testing.csv"))
    assert "\n" not in str(error.value)


def test_csv_without_its_columns_says_which(tmp_path):
    (tmp_path / "testing.csv").write_text("clip,frame,x,y\n01,0,1,2\n")
    with pytest.raises(VadError, match="no column x1, y1, x2, y2"):
        found(tmp_path, "{split}.csv", CLIPS[1])


def test_empty_csv_is_one_line(tmp_path):
    (tmp_path / "testing.csv").write_text("")
    with pytest.raises(VadError, match="not a table"):
        found(tmp_path, "{split}.csv", CLIPS[1])


def coco(path: Path, images: list, annotations: list) -> None:
    path.write_text(json.dumps({"images": images, "annotations": annotations}))


def test_coco_frames_by_number(tmp_path):
    images = [
        {"id": 7, "file_name": "testing/frames/02/0100.jpg", "frame_id": 2},
        {"id": 3, "file_name": "02/x.jpg", "frame_id": 0},
    ]
    notes = [
        {"image_id": 7, "bbox": [10, 20, 5, 6], "score": 0.5, "category_id": 3},
        {"image_id": 3, "bbox": [0, 0, 9, 9]},
        {"image_id": 7, "bbox": [1, 1, 2, 2]},
    ]
    coco(tmp_path / "testing.json", images, notes)
    assert found(tmp_path, "{split}.json", CLIPS[2]) == [[[0, 0, 9, 9]], [], [[10, 20, 15, 26], [1, 1, 3, 3]]]
    assert found(tmp_path, "{split}.json", CLIPS[1]) == [[], []]


def test_coco_frames_in_natural_order_where_all_are_listed(tmp_path):
    images = [{"id": n, "file_name": f"02/{n}.jpg"} for n in (10, 9, 8)]
    coco(tmp_path / "testing.json", images, [{"image_id": 9, "bbox": [0, 0, 9, 9]}])
    assert found(tmp_path, "{split}.json", CLIPS[2]) == [[], [[0, 0, 9, 9]], []]


def test_coco_without_numbers_must_list_every_frame(tmp_path):
    coco(tmp_path / "testing.json", [{"id": 1, "file_name": "02/1.jpg"}], [])
    with pytest.raises(VadError, match="clip 02: 1 images without `frame_id`, but the clip has 3 frames"):
        found(tmp_path, "{split}.json", CLIPS[2])


@pytest.mark.parametrize(
    ("image", "note"),
    [
        ({"frame_id": "abc"}, {}),
        ({"frame_id": 1.5}, {}),
        ({"frame_id": float("nan")}, {}),
        ({}, {"score": "high"}),
        ({}, {"score": None}),
        ({}, {"category_id": "car"}),
        ({}, {"image_id": [9]}),
        ({}, {"bbox": [1, 2, 3]}),
    ],
)
def test_coco_values_of_another_kind_are_refused(tmp_path, image, note):
    image, note = (
        {"id": 9, "file_name": "02/1.jpg", "frame_id": 0} | image,
        {"image_id": 9, "bbox": [0, 0, 9, 9]} | note,
    )
    coco(tmp_path / "testing.json", [image], [note])
    with pytest.raises(VadError, match=r"testing\.json: not COCO JSON with images"):
        found(tmp_path, "{split}.json", CLIPS[2])


def test_json_nested_without_end_is_refused(tmp_path):
    (tmp_path / "testing.json").write_text("[" * 100_000)
    with pytest.raises(VadError, match=r"testing\.json: not COCO JSON"):
        found(tmp_path, "{split}.json", CLIPS[2])


def test_a_class_beyond_16_bits_is_unknown_and_not_another(tmp_path):
    (tmp_path / "testing.csv").write_text("clip,frame,x1,y1,x2,y2,score,cls\n02,0,0,0,9,9,1,65539\n02,0,1,1,9,9,1,3\n")
    detect = make_detector(ImportedBoxesSettings(boxes="{split}.csv"), Path("weights"), tmp_path, CLIPS)
    assert detect(CLIPS[2], 0, [None])[0].cls.tolist() == [-1, 3]


def test_coco_annotation_of_no_image_is_refused(tmp_path):
    coco(tmp_path / "testing.json", [], [{"image_id": 9, "bbox": [0, 0, 9, 9]}])
    with pytest.raises(VadError, match="names image 9"):
        found(tmp_path, "{split}.json", CLIPS[2])


@pytest.mark.parametrize("text", ["[]", "{", '{"images": []}', '{"images": [{"id": 1}], "annotations": []}'])
def test_other_json_is_refused(tmp_path, text):
    (tmp_path / "testing.json").write_text(text)
    with pytest.raises(VadError, match="not COCO JSON"):
        found(tmp_path, "{split}.json", CLIPS[2])


def test_missing_file_says_where_it_belongs(tmp_path):
    with pytest.raises(VadError) as error:
        found(tmp_path, "b_{split}.npy", CLIPS[0])
    assert str(error.value).startswith(f"{tmp_path}/b_training.npy or {tmp_path}/b_train.npy: not found")


def test_unknown_ending_is_refused(tmp_path):
    (tmp_path / "boxes.txt").write_text("")
    with pytest.raises(VadError, match=r"expected \.npy, \.json, \.csv"):
        found(tmp_path, "boxes.txt", CLIPS[0])


def test_published_boxes_of_ped2_all_survive(shared):
    folder = shared / "data/ped2"
    clips = [
        Clip(path.name, split, str(path), len(list(path.glob("*.jpg"))), 360, 240)
        for split in ("training", "testing")
        for path in sorted((folder / split / "frames").iterdir())
    ]
    settings = ImportedBoxesSettings(boxes="vec_boxes/bboxes_{split}_obj_det_with_motion.npy", rules=None, motion=None)
    detector = make_detector(settings, Path(), folder, clips)
    counts = {"training": 0, "testing": 0}
    for clip in clips:
        counts[clip.split] += sum(len(boxes) for boxes in detector(clip, 0, [None] * clip.frames))
    assert counts == {"training": 31_089, "testing": 34_715}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.csv", "clip, frame, x1, y1, x2, y2\ntesting\\01,1,1,2,9,9\n"),
        ("b.csv", "\ufeffclip,frame,x1,y1,x2,y2\r\ntesting/01,1,1,2,9,9\r\n"),
        (
            "b.json",
            '\ufeff{"images": [{"id": 1, "file_name": "testing\\\\01\\\\1.jpg", "frame_id": 1}], '
            '"annotations": [{"image_id": 1, "bbox": [1, 2, 8, 7]}]}',
        ),
    ],
)
def test_files_written_on_another_system_are_read(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode())
    assert found(tmp_path, name, CLIPS[1]) == [[], [[1, 2, 9, 9]]]
