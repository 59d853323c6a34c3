"""Stage prepare: index and check a data set."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from vadlib.io.ownership import check, publish, remove_own
from vadlib.io.tables import write_table
from vadlib.manifest import save_manifest
from vadlib.pipeline.mapping import fingerprint, scratch_folder
from vadlib.pipeline.places import Places
from vadlib.settings import ComputeSettings, DatasetSettings


def prepare_dataset(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """Index and check the data set, its anomalous regions too; render it first if it is the embedded one."""
    from vadlib.datasets.registry import index_dataset, index_regions

    check(places.prepared, folder=True)
    folder, mark = places.data, fingerprint(__name__, settings.source)
    made = scratch_folder(places.prepared, mark) / "made"
    remove_own(made)  # of a run that was stopped
    if settings.source.layout == "synthetic":
        from vadlib.datasets.synthetic.footage import write_footage

        folder = made / "footage"
        write_footage(settings.source.street, folder, workers=compute.workers)
    manifest = index_dataset(places.name, settings.source, folder, Path())
    if (regions := index_regions(manifest, folder, Path())) is not None:
        write_table(made / places.regions.name, regions)
    if settings.source.layout == "synthetic":  # where it will be
        clips = (replace(c, path=(places.prepared / Path(c.path).relative_to(made)).as_posix()) for c in manifest.clips)
        manifest = replace(manifest, clips=tuple(clips))
    save_manifest(manifest, made / places.manifest.name)
    publish(made, places.prepared)
    remove_own(made.parent)
    counts: Counter[str] = Counter()
    for clip in manifest.clips:
        counts[f"{clip.split} clips"] += 1
        counts[f"{clip.split} frames"] += clip.frames
        labels = clip.labels()
        counts["anomalous frames"] += 0 if labels is None else int(labels.sum())
    return counts
