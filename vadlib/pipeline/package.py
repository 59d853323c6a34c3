"""Stage package: a trained model as one folder."""

from collections import Counter
from pathlib import Path

from vadlib.io.ownership import check, publish, remove_own
from vadlib.pipeline.mapping import fingerprint, scratch_folder
from vadlib.pipeline.places import Places
from vadlib.pipeline.scorers import load_calibration
from vadlib.scoring.model_folder import write_package
from vadlib.settings import ComputeSettings, DatasetSettings


def package_model(places: Places, output: Path, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """The model folder."""
    check(output, folder=True)
    frames = load_calibration(places).thresholds["best"].frames
    files = [*map(places.model, settings.branches), places.statistics, places.evidence, places.calibration]
    scratch = scratch_folder(output, fingerprint(__name__, settings, *files))
    made = scratch / "made"
    remove_own(made)  # of a kill
    write_package(made, settings, files, places.weights, places.flow_weights)
    publish(made, output)
    remove_own(scratch)
    return Counter({"files": sum(1 for path in output.rglob("*") if path.is_file()), "held-out frames": frames})
