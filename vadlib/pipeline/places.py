"""Where a data set's inputs and artefacts lie."""

from dataclasses import dataclass
from pathlib import Path

from vadlib.clips import Manifest, load_manifest

BOX = ["x1", "y1", "x2", "y2"]


@dataclass(frozen=True)
class Places:
    """Where a data set's inputs and artefacts lie, and what makes them."""

    name: str
    data: Path  # the footage
    weights: Path  # of the detector
    work: Path  # artefacts
    metrics: Path
    command: str | None = None  # what makes everything, where that is not `dvc repro`

    @classmethod
    def of(cls, name: str) -> "Places":
        """Those of a data set of params.yaml, relative to the project's folder."""
        return cls(name, Path("data") / name, Path("weights") / name, Path("work") / name, Path("metrics") / name)

    @property
    def flow_weights(self) -> Path:
        """Of flow estimators: those of all data sets, so that a data set's flow does not depend on its detector."""
        return self.weights.parent / "flow"

    @property
    def prepared(self) -> Path:
        return self.work / "prepared"

    @property
    def manifest(self) -> Path:
        return self.prepared / "manifest.json"

    @property
    def regions(self) -> Path:
        """The anomalous regions of the testing clips; only where the data set tells of them."""
        return self.prepared / "regions.parquet"

    @property
    def boxes(self) -> Path:
        return self.work / "boxes.parquet"

    @property
    def flow(self) -> Path:
        return self.work / "flow"

    def cubes(self, branch: str) -> Path:
        return self.work / "cubes" / branch

    def model(self, branch: str) -> Path:
        return self.work / "model" / f"{branch}.safetensors"

    @property
    def statistics(self) -> Path:
        return self.work / "model" / "statistics.json"

    @property
    def evidence(self) -> Path:
        """What the evidence beside the networks has learned."""
        return self.work / "model" / "evidence.safetensors"

    @property
    def calibration(self) -> Path:
        return self.work / "model" / "calibration.json"

    @property
    def scores(self) -> Path:
        return self.work / "scores"

    def scores_of(self, eta: float, table: str) -> Path:
        """The `cubes` or the `frames` table of one eta."""
        return self.scores / f"eta_{eta:g}" / f"{table}.parquet"

    def made_by(self, stage: str) -> str:
        """The command that makes a missing input."""
        if self.command:
            return f"`{self.command}`"
        return f"`dvc repro {stage}@{self.name}`"

    def load_manifest(self) -> Manifest:
        return load_manifest(self.manifest)
