"""The console script `vad`, also `python -m vadlib`: what is not a stage of the pipeline."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vadlib.cli.commands import DatasetName, friendly
from vadlib.cli.threads import use_threads, wait_asleep
from vadlib.errors import VadError
from vadlib.settings import Branch, DetectorKind, ExecutorName, load_dataset, reference
from vadlib.version import __version__

if TYPE_CHECKING:
    from vadlib.footage.scene import Scene
    from vadlib.scoring.model_folder import Package

app = typer.Typer(
    help="Video anomaly detection by object-level reconstruction. The pipeline itself is run by `dvc repro`.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


def set_threads(count: int | None) -> None:
    """Before anything that has threads is imported."""
    if count is not None:
        use_threads(count)


def print_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        print(f"vadlib {__version__}")
        raise typer.Exit


@app.callback()
def of_all_commands(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            callback=set_threads,
            help="For an operation of a network, or on a picture; else all cores.",
        ),
    ] = None,
) -> None:
    """What stands before a command."""


def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint in the layout the authors of STATE publish.")],
    output: Annotated[Path, typer.Argument(help="The safetensors file to write.")],
    branch: Annotated[Branch, typer.Option(help="The branch to read; a checkpoint holds both.")],
    head_input: Annotated[
        Literal["slice", "all"], typer.Option(help="Heads as the authors' (slice), or as the paper's (all).")
    ] = "slice",
    positional: Annotated[
        Literal["shared", "stack"], typer.Option(help="Encoding as the authors' (shared), or the paper's (stack).")
    ] = "shared",
) -> Mapping[str, int]:
    """Turn one branch of an authors' checkpoint into this project's safetensors. Both settings hold it exactly."""
    from vadlib.authors import read_authors_checkpoint
    from vadlib.io.ownership import check
    from vadlib.models.checkpoint import save_model

    check(output)
    network, model, length = read_authors_checkpoint(checkpoint, branch, head_input=head_input, positional=positional)
    save_model(output, network, model, branch, length)
    return {"layers": model.layers, "heads": model.heads, "parameters": sum(p.numel() for p in network.parameters())}


def check_data(
    dataset: Annotated[str, typer.Argument(help="A data set that params.yaml describes.")],
) -> None:
    """Show what of a data set is there and what is missing, with its counts against the known totals."""
    from vadlib.cli.data import check_data as check
    from vadlib.pipeline.places import Places

    settings, _ = load_dataset(dataset)
    rows = check(dataset, settings.source, Places.of(dataset).data, Path())
    print_table(rows)


def fetch(
    dataset: Annotated[str, typer.Argument(help="ped1, ped2, avenue or shanghaitech.")],
    folder: Annotated[Path | None, typer.Option(help="Where to put it; data/<data set> if not given.")] = None,
) -> None:
    """Download a benchmark from its official page: resumed where it stopped, checked, safely unpacked."""
    from vadlib.fetch import fetch as download

    download(dataset, folder or Path("data") / dataset)


def evaluate(
    scores: Annotated[Path, typer.Argument(help="CSV (clip,frame,score), .npy of all frames, or a folder of .npy.")],
    dataset: DatasetName,
    name: Annotated[str | None, typer.Option(help="What to call the system; the file's name if not given.")] = None,
) -> Mapping[str, int]:
    """Evaluate another system's frame scores of a prepared data set, and print them beside this project's."""
    from vadlib.pipeline.evaluate import evaluate_external
    from vadlib.pipeline.places import Places

    return evaluate_external(Places.of(dataset), scores, scores.stem if name is None else name)


YoloWeights = Annotated[
    Path | None,
    typer.Option("--detector-weights", help="A YOLO's weights (.pt, .onnx, OpenVINO) instead of the model's detector."),
]


OldModel = Annotated[Path, typer.Argument(help="A model folder.")]
NewModel = Annotated[Path, typer.Option(help="The model folder to make; it may be the same.")]
ModelFolder = Annotated[Path, typer.Option(help="A model folder: of `vad train`, or models/<data set>.")]
Limit = Annotated[float | None, typer.Option(help="Call frames above it anomalous; else the model's.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at what cannot be read, with exit code 1, instead of leaving it out.")
]


Executor = Annotated[
    ExecutorName | None, typer.Option(help="Who works: processes of this machine, or a Ray cluster's.")
]
Address = Annotated[str | None, typer.Option(help="Of the Ray cluster; one on this machine if not given.")]


Masks = Annotated[
    list[str] | None,
    typer.Option(
        "--mask",
        help="Where it counts: a picture, white where, or JSON of polygons (`vad draw-mask`); `name=` before it: the "
        "camera of that name alone.",
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option(help="Where it counts: a picture, white where, or JSON of polygons (`vad draw-mask`)."),
]
Classes = Annotated[
    str | None, typer.Option(help="Kinds of objects that count: person,car. `motion` is what only moves.")
]
Ignore = Annotated[str | None, typer.Option(help="Kinds of objects that do not count: cat,dog.")]
EveryFrame = Annotated[int | None, typer.Option("--every", min=1, max=6, help="Look at every so many-th frame.")]
Smallest = Annotated[
    float | None, typer.Option(min=0, max=100, help="Smaller objects do not count: % of the frame's area.")
]
Largest = Annotated[
    float | None, typer.Option(min=0, max=100, help="Larger objects do not count: % of the frame's area.")
]


def scene_options(
    mask: Path | None,
    classes: str | None,
    ignore: str | None,
    every: int | None,
    smallest: float | None,
    largest: float | None,
) -> dict[str, Any]:
    """Those keys of SceneSettings that a command line gives."""
    given = {
        "mask": None if mask is None else str(mask),
        "classes": None if classes is None else names_in(classes),
        "ignore": None if ignore is None else names_in(ignore),
        "every": every,
        "smallest": smallest,
        "largest": largest,
    }
    return {name: value for name, value in given.items() if value is not None}


def names_in(text: str) -> tuple[str, ...]:
    """Names between commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def scene_given(package: "Package", yolo: Path | None, options: Mapping[str, Any]) -> "Scene | None":
    """What counts, where options say otherwise than the model, of which a line tells; None where there are none."""
    from vadlib.footage.scene import changed, differences, read_scene
    from vadlib.io.progress import tell
    from vadlib.scoring.model_folder import for_new_footage

    if not options:
        return None
    detector, _ = for_new_footage(package, yolo)
    learned = read_scene(package.folder, detector)
    scene = changed(learned, options, detector)
    if said := differences(scene, learned):
        tell(f"note: {said}: so was nothing that the model learned from")
    return scene


def score(
    videos: Annotated[
        list[Path],
        typer.Argument(
            metavar="VIDEO...",
            help="Videos, folders of images, folders of either in any depth, image files in order; `-`: paths on "
            "standard input, one a line, as they come.",
        ),
    ],
    model: ModelFolder,
    output: Annotated[Path, typer.Option(help="Folder for what is found; each of several clips gets its own in it.")],
    threshold: Limit = None,
    detector_weights: YoloWeights = None,
    mask: Mask = None,
    classes: Classes = None,
    ignore: Ignore = None,
    every: EveryFrame = None,
    smallest: Smallest = None,
    largest: Largest = None,
    fps: Annotated[float, typer.Option(min=0.001, help="Frames per second of images.")] = 25.0,
    parquet: Annotated[bool, typer.Option("--parquet", help="Leave frames.parquet beside frames.csv.")] = False,
    strict: Strict = False,
    executor: Executor = None,
    address: Address = None,
    workers: Annotated[int, typer.Option(min=1, help="Clips scored at a time.")] = 1,
) -> Mapping[str, float]:
    """Score videos in one pass: frames.csv, segments.csv, annotated.mp4 and report.html of each.

    Of several there is index.html as well: what happened, by days and clips.

    What cannot be read is left out and named, and the exit code is then 3.
    """
    import time

    from vadlib.errors import FootageError
    from vadlib.footage.find import OVERVIEW, Footage, LeftOut, find_footage, is_single, listed_paths
    from vadlib.footage.many import Scoring, load, score_many
    from vadlib.footage.overview import write_overview
    from vadlib.footage.score import apart_from, begin_folder
    from vadlib.io.ownership import check, check_apart
    from vadlib.io.progress import progress
    from vadlib.scoring.model_folder import read_package
    from vadlib.settings import ComputeSettings

    if any(str(path) == "-" for path in videos) and (executor not in (None, "local") or workers != 1):
        raise VadError("-: footage on standard input is scored as it comes, by one process; leave the workers out")
    named = [path for path in videos if str(path) != "-"]
    for _ in apart_from(output, named):
        pass
    for source in [model, *([] if detector_weights is None else [detector_weights])]:
        check_apart(output, source)
    # Detector, flow and video encoder are in memory as well: half a batch keeps all of it below 2 GiB.
    compute = ComputeSettings(score_batch=16, executor=executor or "local", address=address, workers=workers)
    options = scene_options(mask, classes, ignore, every, smallest, largest)
    scene = scene_given(read_package(model), detector_weights, options) if options else None
    how = Scoring(model, compute, detector_weights, threshold, fps, parquet, scene)
    load(how)
    counts: Counter[str] = Counter()
    left_out = LeftOut(strict=strict)
    started, single, any_begun = time.monotonic(), True, False
    try:
        paths = listed_paths(videos)
        if isinstance(paths, list):
            before = LeftOut(strict=strict, quiet=True)
            known = list(find_footage(paths, before))
            if not known and before.clips == 1:
                raise VadError(before.reasons[0])
            left_out.again(before)
            clips, single = iter(known), is_single(videos, known)
        else:
            clips, single = find_footage(apart_from(output, paths), left_out), False
        if not single:
            check(output / OVERVIEW)

        def begun() -> Iterator[tuple[Footage, Path]]:
            nonlocal any_begun
            for footage in clips:
                begin_folder(output)
                any_begun = True
                yield footage, output if single else output / footage.name

        total = len(known) if isinstance(paths, list) else None
        with progress(total, "score", "clip", shown=not single) as bar:
            for scored in score_many(how, begun()):
                bar.update()
                if scored.error and single:
                    raise FootageError(scored.error)
                if scored.error:
                    left_out.clip(scored.error)
                    continue
                counts.update(scored.counts)
                counts["clips"] += 1
                left_out.of_clip(scored.losses)
                rate = counts["frames"] / (time.monotonic() - started)
                bar.set_postfix_str(f"{rate:.1f} frames/s", refresh=False)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; {output} holds what was scored so far, whole") from None
    finally:
        if any_begun and not single:  # after a refusal all is as it was
            write_overview(output)
    if not isinstance(paths, list):
        left_out.tell_others()
    if not counts["clips"]:
        raise VadError(
            "nothing was scored: " + ("none of it can be read" if left_out.clips else "no footage was named")
        )
    rate = round(counts["frames"] / (time.monotonic() - started), 1)
    return {"clips": counts.pop("clips"), **counts, **left_out.counts(), "frames/s": rate}


def train(
    folder: Annotated[Path, typer.Argument(help="Normal videos, or folders of images, one for each clip.")],
    output: Annotated[Path, typer.Option(help="The model folder to make.")],
    settings: Annotated[
        str | None,
        typer.Option(
            help="A data set of ./params.yaml, or a YAML file with keys of one, and `scene`; what it leaves out is as "
            "without it."
        ),
    ] = None,
    detector: Annotated[
        DetectorKind | None,
        typer.Option(
            help="Another detector than the settings': yolo (AGPL-3.0), onnx (YOLOX-nano, or --detector-weights), "
            "torchvision, motion (no file, no classes)."
        ),
    ] = None,
    detector_weights: YoloWeights = None,
    mask: Mask = None,
    classes: Classes = None,
    ignore: Ignore = None,
    every: EveryFrame = None,
    smallest: Smallest = None,
    largest: Largest = None,
    strict: Strict = False,
    executor: Executor = None,
    address: Address = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Clips at a time; else by --settings.")] = None,
) -> Mapping[str, float]:
    """Learn what is normal from a folder of videos. Killed, the same command goes on where it was.

    What cannot be read is left out and named, and the exit code is then 3.
    """
    from vadlib.footage.find import LeftOut
    from vadlib.footage.scene import make_scene
    from vadlib.footage.train import train_on_footage
    from vadlib.pipeline.places import Places
    from vadlib.scoring.model_folder import with_yolo
    from vadlib.settings import OWN_FOOTAGE, ComputeSettings, SceneSettings, load_group, with_detector

    chosen, scene, compute, weights = OWN_FOOTAGE, SceneSettings(), ComputeSettings(), None
    if settings is not None and Path(settings).suffix in (".yaml", ".yml"):
        chosen, scene = load_group(Path(settings))
    elif settings is not None:
        chosen, compute = load_dataset(settings)
        weights = Places.of(settings).weights
    given = {"executor": executor, "address": address, "workers": workers}
    compute = compute.model_copy(update={name: value for name, value in given.items() if value is not None})
    if detector is not None:
        chosen = with_detector(chosen, detector)
    detecting = chosen.detector if detector_weights is None else with_yolo(chosen.detector, detector_weights)
    scene = scene.model_copy(update=scene_options(mask, classes, ignore, every, smallest, largest))
    return train_on_footage(
        folder, output, chosen, compute, weights=weights, yolo=detector_weights,
        scene=make_scene(scene, detecting), left_out=LeftOut(strict=strict),
    )  # fmt: skip


def calibrate(
    model: OldModel,
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="Normal footage of this camera, as `vad score` takes it, or a folder of `vad watch`.",
        ),
    ],
    output: NewModel,
    alarms_per_hour: Annotated[
        float, typer.Option(min=0.001, max=3600, help="How often normal life may raise an alarm.")
    ] = 1.0,
    detector_weights: YoloWeights = None,
    strict: Strict = False,
) -> Mapping[str, float]:
    """Set a model's threshold anew, by how often it may raise an alarm, without training.

    Of what `vad watch` wrote all counts as normal but the events that were called real on its page.
    """
    from vadlib.footage.calibrate import calibrate_on
    from vadlib.footage.find import LeftOut
    from vadlib.footage.stream import make_scorer
    from vadlib.scoring.model_folder import read_package
    from vadlib.settings import ComputeSettings

    package, left_out = read_package(model), LeftOut(strict=strict)
    scorer = make_scorer(package, ComputeSettings(score_batch=16), detector_weights)
    counts = calibrate_on(package, scorer, sources, output, alarms_per_hour, left_out)
    return {**counts, **left_out.counts()}


def update(
    model: OldModel,
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="New normal footage, or a folder of `vad watch`: its events that were called normal on the page.",
        ),
    ],
    output: NewModel,
    strict: Strict = False,
) -> Mapping[str, float]:
    """Go on from a model with new normal footage, instead of from nothing. Killed, the same command goes on.

    What is normal of scores is set anew by the new footage: name some of all that is normal now.
    """
    from vadlib.footage.find import LeftOut
    from vadlib.footage.update import update_on_footage
    from vadlib.scoring.model_folder import read_package
    from vadlib.settings import ComputeSettings

    return update_on_footage(read_package(model), sources, output, ComputeSettings(), LeftOut(strict=strict))


def watch(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="rtsp:// or http(s):// addresses, devices (/dev/video0, 0), `-` or a pipe, a folder that recordings "
            "come into, a file at its own pace; `name=` before one names the camera.",
        ),
    ],
    model: Annotated[
        list[str],
        typer.Option(
            metavar="FOLDER[@RULE]",
            help="A model folder of `vad train`. Several, one without a rule: @HH:MM-HH:MM, local time, @grey, "
            "pictures without colour, and @dark, dark ones, say when another scores.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder for events, their videos, and tables.")],
    threshold: Limit = None,
    detector_weights: YoloWeights = None,
    masks: Masks = None,
    classes: Classes = None,
    ignore: Ignore = None,
    every: EveryFrame = None,
    smallest: Smallest = None,
    largest: Largest = None,
    shortest: Annotated[float, typer.Option(min=0, help="Seconds above the threshold that make an event.")] = 0.5,
    cool_off: Annotated[float, typer.Option(min=0, help="Seconds after an event without another.")] = 10.0,
    before: Annotated[float, typer.Option(min=0, max=60, help="Seconds of video before an event.")] = 5.0,
    after: Annotated[float, typer.Option(min=0, max=60, help="Seconds of video after an event.")] = 5.0,
    quota: Annotated[float, typer.Option(min=0.001, help="GB of the output at most: the oldest leaves first.")] = 10.0,
    webhook: Annotated[list[str] | None, typer.Option(help="Address that events are posted to; several.")] = None,
    mqtt: Annotated[list[str] | None, typer.Option(help="mqtt://user:password@host:port/prefix; several.")] = None,
    command: Annotated[list[str] | None, typer.Option(help="Program run on each event, JSON on its input.")] = None,
    page: Annotated[bool, typer.Option(help="Serve the status page.")] = True,
    host: Annotated[str, typer.Option(help="Where the page is served; 0.0.0.0 for the whole network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The page's port; 0: any.")] = 8765,
    token: Annotated[str | None, typer.Option(envvar="VAD_TOKEN", help="The page's; else one at random.")] = None,
) -> None:
    """Watch cameras live: events with their videos, told of as they happen. Runs until stopped."""
    import contextlib
    import signal
    from dataclasses import replace

    from vadlib.footage.calibrate import model_mark
    from vadlib.footage.stream import make_scorer
    from vadlib.io.ownership import check_apart
    from vadlib.io.progress import tell
    from vadlib.scoring.model_folder import read_package
    from vadlib.settings import ComputeSettings
    from vadlib.watch.camera import Rolls
    from vadlib.watch.events import Rules
    from vadlib.watch.model import Model
    from vadlib.watch.rule import check_models, names_of
    from vadlib.watch.server import served
    from vadlib.watch.service import Told, Watch
    from vadlib.watch.sources import Source, parse_source

    cameras: list[Source] = []
    for text in sources:
        cameras.append(parse_source(text, [camera.name for camera in cameras]))
    wanted = check_models(model)
    for path, _ in wanted:
        check_apart(output, path)
    options = scene_options(None, classes, ignore, every, smallest, largest)
    given = masks_of(masks or (), [camera.name for camera in cameras])
    models, scenes = [], {}
    for (path, rule), name in zip(wanted, names_of([path for path, _ in wanted]), strict=True):
        package = read_package(path)
        for camera, mask in given.items():
            own = options if mask is None else {**options, "mask": str(mask)}
            if (scene := scene_given(package, detector_weights, own)) is not None:
                scenes[camera, name] = scene
        models.append(
            Model(
                name,
                model_mark(package),
                make_scorer(package, ComputeSettings(score_batch=16), detector_weights),
                package.threshold if threshold is None else replace(package.threshold, value=threshold),
                rule,
            )
        )
    watching = Watch(
        cameras,
        models,
        output,
        round(quota * 1e9),
        Rules(shortest=shortest, cool_off=cool_off),
        Rolls(before, after),
        Told(webhook or (), mqtt or (), command or ()),
        scenes,
        out=lambda line: print(line, flush=True),
    )
    stopped: list[int] = []

    def stop(number: int, frame: object) -> None:
        """The first time all is finished; the second time nothing is waited for."""
        if stopped:
            raise KeyboardInterrupt
        stopped.append(number)
        watching.stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    with served(watching, host, port, token) if page else contextlib.nullcontext("") as address:
        if address:
            tell(f"page: {address}")
        counts = watching.run()
    if stopped == [signal.SIGINT]:
        raise KeyboardInterrupt(f"stopped; {output} holds what was seen so far, whole")
    # No closing line of `friendly`: it names what was given, and addresses may hold passwords.
    watching.tell("ended: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))


def masks_of(texts: Sequence[str], cameras: Sequence[str]) -> dict[str, Path | None]:
    """Each camera's mask, of `FILE`, for all, and `camera=FILE`, before it. Raises VadError where it is nobody's."""
    found: dict[str, Path | None] = dict.fromkeys(cameras)
    named = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if equals and not Path(text).exists():
            if name not in found:
                raise VadError(f"--mask {text}: no camera {name!r}; there are: {', '.join(cameras)}")
            named[name] = Path(path)
        else:
            found = dict.fromkeys(cameras, Path(text))
    return {**found, **named}


def draw_mask(
    footage: Annotated[Path, typer.Argument(help="A video, an image, or a folder of either.")],
    output: Annotated[Path, typer.Option(help="The page to make, to be opened in a browser.")] = Path("draw-mask.html"),
) -> None:
    """Make a page to draw a mask on: areas of the frame to ignore or to watch. It saves mask.json, for --mask."""
    from vadlib.footage.draw_mask import write_mask_page

    write_mask_page(footage, output)
    print(f"open {output} in a browser, draw, save mask.json, and give it with --mask to train, score and watch")


def settings() -> None:
    """Print every setting of params.yaml with its default, unit, meaning and source, as Markdown."""
    print(reference())


def print_table(rows: list[dict[str, object]]) -> None:
    """Print rows under their column names, each column as wide as its widest cell."""
    cells = [list(rows[0]), *([("-" if v is None else str(v)) for v in row.values()] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


for function in (
    score,
    watch,
    train,
    calibrate,
    update,
    draw_mask,
    evaluate,
    check_data,
    fetch,
    import_checkpoint,
    settings,
):
    app.command(name=function.__name__.replace("_", "-"), help=function.__doc__)(friendly(function))


def main() -> None:
    """Entry point of the console script."""
    wait_asleep()
    app()
