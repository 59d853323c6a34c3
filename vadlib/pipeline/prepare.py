"""Stage prepare: index and check a data set."""

import shutil
from collections import Counter
from pathlib import Path

from vadlib.clips import save_manifest
from vadlib.io.tables import write_table
from vadlib.pipeline.mapping import fingerprint, publish, scratch_folder
from vadlib.pipeline.places import Places
from vadlib.settings import ComputeSettings, DatasetSettings


def prepare_dataset(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """Index and check the data set, its anomalous regions too; render it first if it is the embedded one."""
    from vadlib.datasets.registry import index_dataset, index_regions

    folder = places.data
    if settings.source.layout == "synthetic":
        from vadlib.datasets.synthetic.footage import write_footage

        scratch = scratch_folder(places.prepared, fingerprint(__name__, settings.source))
        write_footage(settings.source.street, scratch / "made" / "footage", workers=compute.workers)
        publish(scratch / "made", places.prepared)
        shutil.rmtree(scratch)
        folder = places.prepared / "footage"
    manifest = index_dataset(places.name, settings.source, folder, Path())
    save_manifest(manifest, places.manifest)
    places.regions.unlink(missing_ok=True)
    if (regions := index_regions(manifest, folder, Path())) is not None:
        write_table(places.regions, regions)
    counts: Counter[str] = Counter()
    for clip in manifest.clips:
        counts[f"{clip.split} clips"] += 1
        counts[f"{clip.split} frames"] += clip.frames
        labels = clip.labels()
        counts["anomalous frames"] += 0 if labels is None else int(labels.sum())
    return counts
