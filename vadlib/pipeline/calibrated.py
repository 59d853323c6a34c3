"""The calibration, for stages that load no network."""

from vadlib.io.files import read_json
from vadlib.pipeline.places import Places
from vadlib.scoring.calibration import Calibration
from vadlib.scoring.kept import calibration_from


def load_calibration(places: Places) -> Calibration:
    """What stage `calibrate` leaves. Raises VadError where it is not there, or damaged."""
    made_by = places.made_by("calibrate")
    return calibration_from(read_json(places.calibration, made_by), places.calibration, made_by)
