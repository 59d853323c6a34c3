"""Arrays as pictures: patches, flow by a colour wheel, error maps, perturbations; all uint8 RGB."""

import base64
from typing import Any, Literal

import cv2
import numpy as np

from vadlib.report.inspection import CubeView

_ENCODINGS = {
    "png": ("image/png", [cv2.IMWRITE_PNG_COMPRESSION, 9]),
    "jpg": ("image/jpeg", [cv2.IMWRITE_JPEG_QUALITY, 82]),
}


def data_uri(picture: np.ndarray, kind: Literal["png", "jpg"]) -> str:
    """A picture uint8 (H, W, 3), RGB, as an address that holds it."""
    mime, options = _ENCODINGS[kind]
    done, encoded = cv2.imencode(f".{kind}", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} cannot be encoded")
    return f"data:{mime};base64,{base64.b64encode(encoded.tobytes()).decode()}"


def patch_picture(patch: np.ndarray) -> np.ndarray:
    """RGB around [0, 1], cut off to it."""
    return np.rint(np.clip(patch, 0, 1) * 255).astype(np.uint8)


def flow_picture(flow: np.ndarray, longest: float) -> np.ndarray:
    """Flow (H, W, 2): hue by direction (red to the right, y down), white where still, full colour at `longest`."""
    u, v = flow[..., 0].astype(np.float64), flow[..., 1].astype(np.float64)
    hue = np.degrees(np.arctan2(v, u)) % 360
    strength = np.clip(np.hypot(u, v) / max(longest, 1e-9), 0, 1)
    hsv = np.stack([hue, strength, np.ones_like(hue)], axis=-1).astype(np.float32)
    return np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).astype(np.uint8)


def flow_wheel(side: int = 112) -> np.ndarray:
    """The legend of `flow_picture`: at each place the colour of the flow that leads there from the centre."""
    place = np.linspace(-1, 1, side)
    return flow_picture(np.stack(np.meshgrid(place, place), axis=-1), 1.0)


def map_picture(error_map: np.ndarray, highest: float) -> np.ndarray:
    """An error map from black (none) by red to pale yellow (`highest`)."""
    grey = np.rint(np.clip(error_map / max(highest, 1e-12), 0, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)


def perturbation_picture(perturbation: np.ndarray) -> np.ndarray:
    """A perturbation amplified until its largest step goes from grey to black or full colour."""
    return patch_picture(0.5 + perturbation / (2 * max(float(np.abs(perturbation).max()), 1e-12)))


def card_views(view: CubeView) -> tuple[list[dict[str, Any]], str]:
    """Rows of pictures of a cube: each branch as it is and perturbed, then the perturbation; and a note on scales."""
    rows: list[dict[str, Any]] = []
    notes = []
    for branch, seen in view.branches.items():
        runs = {"": (view.original, seen.before), "perturbed": (view.perturbed, seen.after)}
        highest = max(float(run.error_map.max()) for _, run in runs.values())
        if branch == "flow":
            fields = (seen.target, seen.before.output, seen.after.output)
            longest = max(float(np.hypot(field[..., 0], field[..., 1]).max()) for field in fields)
            notes.append(f"Full flow colour: {longest:.1f} px per frame.")
        for note, (patch, run) in runs.items():
            name = f"{branch}{', perturbed' if note else ''}"
            if branch == "flow":
                target, output = flow_picture(seen.target, longest), flow_picture(run.output, longest)
            else:
                target, output = patch_picture(patch), patch_picture(run.output)
            pictures = {
                f"{name}: target": target,
                f"{name}: output of the network": output,
                f"{name}: error map": map_picture(run.error_map, highest),
            }
            images = [{"src": data_uri(picture, "png"), "alt": alt} for alt, picture in pictures.items()]
            rows.append({"label": branch, "note": note, "images": images, "error": run.error})
    return rows, " ".join(notes)


def perturbation_image(view: CubeView) -> dict[str, str] | None:
    """The perturbation, amplified; None where there is none."""
    moved = view.perturbed - view.original
    if not np.abs(moved).max() > 0:
        return None
    return {"src": data_uri(perturbation_picture(moved), "png"), "alt": "the perturbation, amplified"}
