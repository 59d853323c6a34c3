"""Train the embedded data set's detector: a very small ultralytics YOLO, on the renderer's scenes of other seeds.

    python scripts/train_street_detector.py

Takes some minutes on two cores and needs no network. ultralytics is AGPL-3.0; see weights/README.md.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from vadlib.datasets.synthetic.footage import render_clip
from vadlib.io.files import write_text, written_aside
from vadlib.settings import StreetSettings

TRAIN_SEED, HELD_OUT_SEED = 1000, 5000  # of the first clip; each clip has a street of its own
IMAGE_SIZE = 320
CLIP_FRAMES, EVERY = 60, 6  # neighbouring frames teach little

# Layers are [from, repeats, module, arguments], as ultralytics reads them: a backbone down to 1/32, a top-down
# path back to 1/8 and a bottom-up path, with boxes at 1/8, 1/16 and 1/32.
ARCHITECTURE: dict[str, Any] = {
    "nc": 1,
    "backbone": [
        [-1, 1, "Conv", [12, 3, 2]],
        [-1, 1, "Conv", [24, 3, 2]],
        [-1, 1, "C2f", [24, True]],
        [-1, 1, "Conv", [40, 3, 2]],
        [-1, 1, "C2f", [40, True]],  # 4: 1/8
        [-1, 1, "Conv", [72, 3, 2]],
        [-1, 1, "C2f", [72, True]],  # 6: 1/16
        [-1, 1, "Conv", [96, 3, 2]],
        [-1, 1, "C2f", [96, True]],
        [-1, 1, "SPPF", [96, 5]],  # 9: 1/32
    ],
    "head": [
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 6], 1, "Concat", [1]],
        [-1, 1, "C2f", [64]],  # 12
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 4], 1, "Concat", [1]],
        [-1, 1, "C2f", [40]],  # 15: 1/8
        [-1, 1, "Conv", [40, 3, 2]],
        [[-1, 12], 1, "Concat", [1]],
        [-1, 1, "C2f", [64]],  # 18: 1/16
        [-1, 1, "Conv", [64, 3, 2]],
        [[-1, 9], 1, "Concat", [1]],
        [-1, 1, "C2f", [96]],  # 21: 1/32
        [[15, 18, 21], 1, "Detect", ["nc"]],
    ],
}


def render_images(folder: Path, seed: int, clips: int) -> int:
    """Write images and YOLO label files (class, centre and size as shares of the image); return how many images.

    All clips are testing clips, for every kind of object; their anomalies take turns from clip to clip.
    """
    written = 0
    for number in range(clips):
        rng = np.random.default_rng([seed, number])
        street = StreetSettings(
            seed=seed + number,
            size=(192, 128) if number % 6 == 5 else (320, 224),
            clip_frames=CLIP_FRAMES,
            walkers=int(rng.integers(3, 7)),
        )
        width, height = street.size
        for t, rendered in enumerate(render_clip(street, "testing", number)):
            if t % EVERY:
                continue
            stem = f"{number:03d}_{t:03d}"
            (folder / "images").mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / "images" / f"{stem}.png"), rendered.image[..., ::-1])
            lines = [
                f"0 {(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f} "
                f"{(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}\n"
                for x1, y1, x2, y2 in (o.box for o in rendered.objects)
            ]
            write_text(folder / "labels" / f"{stem}.txt", "".join(lines))
            written += 1
    return written


def main(
    out: Annotated[Path, typer.Option(help="weights to write")] = Path("weights/synthetic/street_yolo.safetensors"),
    clips: Annotated[int, typer.Option(help="clips to learn from, ten images each")] = 72,
    epochs: Annotated[int, typer.Option(help="passes over the images")] = 16,
    seed: Annotated[int, typer.Option(help="of weights, order and augmentation")] = 0,
) -> None:
    """Render, train, measure on held-out streets, and write the weights as float16 safetensors."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        images = render_images(work / "train", TRAIN_SEED, clips)
        held_out = render_images(work / "val", HELD_OUT_SEED, 14)
        print(f"{images} images of {clips} streets to learn from, {held_out} of 14 streets held out")
        weights, measured = train(work, epochs, seed)
        save(weights, out, f"{images} images of {clips} streets, {epochs} epochs, seed {seed}")
    print(f"held out: {json.dumps(measured)}\n{out}: {out.stat().st_size / 1e6:.2f} MB")


def train(work: Path, epochs: int, seed: int) -> tuple[dict[str, Any], dict[str, float]]:
    """Train in a scratch folder; return the state dict and what it reaches on the held-out images."""
    # ultralytics is to leave the user's settings alone, install nothing, send nothing and fetch nothing
    os.environ |= {"YOLO_CONFIG_DIR": str(work), "YOLO_AUTOINSTALL": "false", "WANDB_MODE": "disabled"}
    import ultralytics
    from ultralytics.data import utils

    places = {"runs_dir": str(work / "runs"), "weights_dir": str(work), "datasets_dir": str(work)}
    loggers = ("clearml", "comet", "dvc", "mlflow", "neptune", "raytune", "tensorboard", "wandb")
    places |= {name: False for name in loggers if name in ultralytics.settings}
    ultralytics.settings.update({"sync": False, **places})
    utils.check_font = lambda *_: None  # fetches a font for plots that are never made
    write_text(work / "street_yolo.yaml", json.dumps(ARCHITECTURE))  # JSON is YAML
    write_text(work / "data.yaml", json.dumps({"train": str(work / "train/images"), "val": str(work / "val/images"),
                                               "names": {"0": "object"}}))  # fmt: skip
    model = ultralytics.YOLO(str(work / "street_yolo.yaml"), task="detect")
    common = {"data": str(work / "data.yaml"), "imgsz": IMAGE_SIZE, "device": "cpu", "workers": 0, "plots": False}
    common |= {"project": str(work / "runs"), "verbose": False}
    model.train(
        **common,
        pretrained=False,
        epochs=epochs,
        seed=seed,
        deterministic=True,
        amp=False,  # its self-test fetches weights
        val=False,
        cache="ram",
        batch=8,
        nbs=8,  # a step of the optimiser for every batch
        optimizer="AdamW",
        lr0=0.003,
        lrf=0.02,
        cos_lr=True,
        warmup_epochs=1,
        close_mosaic=epochs // 3,
        hsv_s=0.4,
        hsv_v=0.3,
        scale=0.25,
    )
    weights = model.trainer.ema.ema.float().state_dict()
    result = model.val(**common).box
    measured = {"map50": result.map50, "map50_95": result.map, "precision": result.mp, "recall": result.mr}
    return weights, {name: round(float(value), 4) for name, value in measured.items()}


def save(weights: dict[str, Any], out: Path, how: str) -> None:
    """Write the float16 state dict, and all that is needed to build the model around it as metadata."""
    from safetensors.torch import save_file

    half = {name: (t.half() if t.is_floating_point() else t).contiguous() for name, t in weights.items()}
    metadata = {
        "yaml": json.dumps(ARCHITECTURE),
        "names": json.dumps({"0": "object"}),
        "imgsz": str(IMAGE_SIZE),
        "provenance": f"Trained from nothing on this project's rendered streets ({how}) with ultralytics (AGPL-3.0) "
        "by: python scripts/train_street_detector.py",
    }
    with written_aside(out) as aside:
        save_file(half, aside, metadata=metadata)


if __name__ == "__main__":
    typer.run(main)
