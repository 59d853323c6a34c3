"""Two hosts in network namespaces, one cut off midway: the stage flow ends with the bytes of one process.

    sudo python scripts/two_hosts.py

Needs Linux, the right to make namespaces (`ip netns`) and Ray. Each host is a namespace with a Ray node of one CPU,
joined by a veth pair; the disk is the folder that they share. Once both hosts work on clips the link is taken down.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from vadlib.cli.commands import run
from vadlib.errors import VadError
from vadlib.pipeline.flow import compute_flow
from vadlib.pipeline.places import Places
from vadlib.pipeline.prepare import prepare_dataset
from vadlib.settings import ComputeSettings, DatasetSettings, DisSettings, MotionDetectorSettings, StreetSettings
from vadlib.settings import StreetSourceSettings as Street

HOSTS = {"vad-one": "10.77.0.1", "vad-two": "10.77.0.2"}
HEAD = "10.77.0.1:6379"
HEAD_ONLY = ["--head", "--port=6379", "--include-dashboard=false", "--disable-usage-stats"]
PLACES = Places.of("two_hosts")


def settings(clips: int, frames: int) -> DatasetSettings:
    """A street of so many clips."""
    street = StreetSettings(training_clips=clips - 1, testing_clips=1, clip_frames=frames)
    return DatasetSettings(source=Street(street=street), detector=MotionDetectorSettings(), flow=DisSettings())


def two_hosts(
    clips: Annotated[int, typer.Option(min=4)] = 8,
    frames: Annotated[int, typer.Option(min=8, help="Of each clip.")] = 150,
    by_cluster: Annotated[bool, typer.Option(hidden=True, help="The part that runs on the first host.")] = False,
) -> Mapping[str, float] | None:
    """Compute flow by one process, then by two hosts of which one is cut off; compare every byte."""
    used = settings(clips, frames)
    if by_cluster:
        cluster = ComputeSettings(executor="ray", address=HEAD, workers=2, precision="fp32")
        return dict(compute_flow(PLACES, used, cluster))
    if shutil.which("ip") is None or os.geteuid():
        raise VadError("two hosts need `ip netns` and the right to use it: run as root on Linux")
    with tempfile.TemporaryDirectory(prefix="two-hosts-") as folder, contextlib.chdir(folder):
        one = ComputeSettings(workers=1, precision="fp32")
        prepare_dataset(PLACES, used, one)
        (Path("weights") / "flow").mkdir(parents=True)
        started = time.monotonic()
        compute_flow(PLACES, used, one)
        alone = time.monotonic() - started
        whole = contents()
        shutil.rmtree(PLACES.work / "flow")
        with namespaces(), nodes(Path(folder)):
            started = time.monotonic()
            command = [sys.executable, __file__, "--by-cluster", "--clips", str(clips), "--frames", str(frames)]
            driver = subprocess.Popen(within("vad-one", command), start_new_session=True)
            try:
                tries = Path(".scratch")
                while len(list(tries.glob("*/tries/*/.*.partial"))) < 2:  # both hosts are at work
                    if driver.poll() is not None:
                        raise VadError("the run ended before both hosts were at work; take more clips")
                    time.sleep(0.05)
                ip("netns", "exec", "vad-two", "ip", "link", "set", "vad-link-two", "down")
                cut = time.monotonic()
                print(f"both at work after {cut - started:.1f} s; the second host is cut off", flush=True)
                if driver.wait(timeout=580):
                    raise VadError("the run failed once the second host was cut off")
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(driver.pid, signal.SIGKILL)
            ended = time.monotonic()
        if contents() != whole:
            raise VadError("the outputs differ from those of one process")
        print(f"{len(whole)} files, the same bytes as one process'", flush=True)
        return {"s by one process": round(alone, 1), "s after the cut": round(ended - cut, 1)}


def contents() -> dict[str, bytes]:
    """What the stage left."""
    return {path.as_posix(): path.read_bytes() for path in sorted(PLACES.flow.rglob("*.h5"))}


def ip(*words: str) -> None:
    """Run `ip`."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise VadError(f"ip {' '.join(words)}: {done.stderr.strip()}; two hosts need the right to make namespaces")


def within(host: str, command: list[str]) -> list[str]:
    """A command on a host."""
    return ["ip", "netns", "exec", host, *command]


@contextlib.contextmanager
def namespaces() -> Iterator[None]:
    """Two hosts, joined by a cable."""
    try:
        for host in HOSTS:
            ip("netns", "add", host)
            ip("-n", host, "link", "set", "lo", "up")
        ip(
            "link",
            "add",
            "vad-link-one",
            "netns",
            "vad-one",
            "type",
            "veth",
            "peer",
            "vad-link-two",
            "netns",
            "vad-two",
        )
        for host, address in HOSTS.items():
            link = host.replace("vad-", "vad-link-")
            ip("-n", host, "address", "add", f"{address}/24", "dev", link)
            ip("-n", host, "link", "set", link, "up")
        yield
    finally:
        for host in HOSTS:
            subprocess.run(["ip", "netns", "del", host], capture_output=True)


@contextlib.contextmanager
def nodes(folder: Path) -> Iterator[None]:
    """A Ray node on each host."""
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1"]
    ray += ["--object-store-memory", str(80 << 20)]
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # of this cluster alone, for its nodes and the driver
    environment = {**os.environ, "PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0"}
    begun = []
    try:
        for host, address in HOSTS.items():
            where = HEAD_ONLY if address == HEAD.split(":")[0] else [f"--address={HEAD}"]
            with (folder / f"{host}.log").open("w") as log:
                command = [*ray, *where, f"--node-ip-address={address}"]
                begun.append(
                    subprocess.Popen(
                        within(host, command), stdout=log, stderr=log, start_new_session=True, env=environment
                    )
                )
            time.sleep(20)
            if begun[-1].poll() is not None:
                raise VadError(f"{host}: no Ray node: {(folder / f'{host}.log').read_text().strip()[-300:]}")
        yield
    finally:
        for node in begun:
            node.terminate()
        for node in begun:
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(timeout=30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
        latest = Path(tempfile.gettempdir()) / "ray/ray_current_cluster"  # that others' `ray.init()` would join
        if latest.is_file() and latest.read_text().strip() == HEAD:
            latest.unlink()


if __name__ == "__main__":
    run(two_hosts)
