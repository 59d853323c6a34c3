"""The status page, and what machines ask: JSON, pictures, clips, /metrics for Prometheus, /healthz.

All but /healthz wants the token: in a cookie that the address with `?token=` sets, or as `Authorization: Bearer`.
"""

import contextlib
import hmac
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from vadlib.errors import VadError
from vadlib.footage.annotate import draw_boxes
from vadlib.watch.record import jpeg
from vadlib.watch.service import Watch

PAGE = Path(__file__).parent / "page"
TYPES = {"clip.mp4": "video/mp4", "thumbnail.jpg": "image/jpeg"}
LISTED = 100  # events at most on the page
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def make_app(watch: Watch, token: str) -> Any:
    """The ASGI application."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
    from starlette.routing import Route

    pictures: dict[str, tuple[object, bytes]] = {}  # of each camera: the frame, drawn

    async def page(request: Request) -> Response:
        name = request.path_params.get("file", "page.html")
        if name not in ("page.html", "page.css", "page.js"):
            return PlainTextResponse("not found", 404)
        return FileResponse(PAGE / name)

    async def status(request: Request) -> Response:
        return JSONResponse(watch.status())

    async def events(request: Request) -> Response:
        latest = [*watch.store.recent][-LISTED:][::-1]
        return JSONResponse([{**event, "label": watch.store.labels.get(event["id"])} for event in latest])

    async def curve(request: Request) -> Response:
        camera = next((c for c in watch.cameras if c.name == request.path_params["camera"]), None)
        if camera is None:
            return PlainTextResponse("no such camera", 404)
        try:
            after = float(request.query_params.get("after", 0))
        except ValueError:
            return PlainTextResponse("after: expected seconds since 1970", 400)
        points = [point for point in [*camera.curve] if point[0] > after]
        return JSONResponse({"threshold": camera.threshold.value, "points": points})

    def frame(request: Request) -> Response:
        camera = next((c for c in watch.cameras if c.name == request.path_params["camera"]), None)
        if camera is None or (last := camera.last) is None:
            return PlainTextResponse("no frame yet", 404)
        if pictures.get(camera.name, (None,))[0] is not last:
            pictures[camera.name] = last, jpeg(draw_boxes(last, camera.threshold))
        return Response(pictures[camera.name][1], media_type="image/jpeg")

    async def file(request: Request) -> Response:
        name = request.path_params["file"]
        path = watch.store.file_of(request.path_params["event"], name) if name in TYPES else None
        if path is None:
            return PlainTextResponse("not found", 404)
        return FileResponse(path, media_type=TYPES[name])

    def label(request: Request, said: Any) -> Response:
        wanted = said.get("label") if isinstance(said, dict) else None
        if wanted not in ("normal", "real"):
            return PlainTextResponse("label: expected normal or real", 400)
        if not watch.store.label(request.path_params["event"], wanted):
            return PlainTextResponse("no such event", 404)
        return JSONResponse({"label": wanted})

    async def labelled(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return PlainTextResponse("expected application/json", 415)
        try:
            return label(request, await request.json())
        except ValueError:
            return PlainTextResponse("expected JSON", 400)

    async def metrics(request: Request) -> Response:
        return PlainTextResponse("\n".join(metric_lines(watch.status())) + "\n", media_type="text/plain; version=0.0.4")

    async def healthz(request: Request) -> Response:
        states = [camera["state"] for camera in watch.status()["cameras"]]
        well = all(state in ("live", "ended") for state in states)
        return PlainTextResponse("ok\n" if well else "a camera is away\n", 200 if well else 503)

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/page/{file}", page),
            Route("/api/status", status),
            Route("/api/events", events),
            Route("/api/events/{event}/label", labelled, methods=["POST"]),
            Route("/cameras/{camera}/curve", curve),
            Route("/cameras/{camera}/frame.jpg", frame),
            Route("/events/{event}/{file}", file),
            Route("/metrics", metrics),
            Route("/healthz", healthz),
        ]
    )

    async def guarded(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        """Ask for the token, and add headers to each answer."""
        if scope["type"] != "http":
            return await app(scope, receive, send)
        request = Request(scope)

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"], *((k.lower().encode(), v.encode()) for k, v in HEADERS.items())
                ]  # fmt: skip
            await send(message)

        given = request.query_params.get("token")
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        answer: Any = app
        if given is not None and _same(given, token):
            answer = RedirectResponse(request.url.path, 303)
            answer.set_cookie(_cookie(request.url.port), token, httponly=True, samesite="strict")
        elif scope["path"] != "/healthz" and not (
            _same(bearer, token) or _same(request.cookies.get(_cookie(request.url.port), ""), token)
        ):
            answer = PlainTextResponse("open the address that `vad watch` printed: it holds the token\n", 401)
        await answer(scope, receive, with_headers)

    return guarded


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _cookie(port: int | None) -> str:
    """Cookies know no ports: several watches on one machine have one each."""
    return f"vad-{port or 80}"


DRIFT = {"unknown": "NaN", "none": "0", "calibrate": "1", "update": "2"}


def metric_lines(status: dict[str, Any]) -> Iterator[str]:
    """The status in Prometheus' text format."""
    wanted = {
        "frames": ("counter", "frames scored or passed by"),
        "looked_at": ("counter", "frames scored"),
        "left_out": ("counter", "frames that the machine was too slow for"),
        "events": ("counter", "events begun"),
        "reconnects": ("counter", "connections lost"),
        "frames_per_s": ("gauge", "frames captured a second"),
        "looked_at_per_s": ("gauge", "frames scored a second"),
        "n": ("gauge", "every n-th frame is scored"),
        "k": ("gauge", "of the frames scored, networks measure an object in every k-th"),
        "lag_s": ("gauge", "seconds from capture to score, median"),
        "event_lag_s": ("gauge", "seconds from capture to event, median"),
        "score": ("gauge", "anomaly score of the last frame"),
        "threshold": ("gauge", "score above which a frame is anomalous"),
    }
    for key, (kind, words) in wanted.items():
        name = f"vad_{key}" + ("_total" if kind == "counter" else "")
        yield f"# HELP {name} {words}"
        yield f"# TYPE {name} {kind}"
        for camera in status["cameras"]:
            yield f'{name}{{camera="{_escaped(camera["name"])}"}} {"NaN" if camera[key] is None else camera[key]}'
    yield "# HELP vad_drift whether it is time to calibrate (1) or to update (2) the model; NaN until it is known"
    yield "# TYPE vad_drift gauge"
    for camera in status["cameras"]:
        for of_model in camera["drift"]:
            labels = f'camera="{_escaped(camera["name"])}",model="{_escaped(of_model["model"])}"'
            yield f"vad_drift{{{labels}}} {DRIFT[of_model['state']]}"
    for key, words in (("memory_mib", "MiB in memory"), ("handles", "open files and connections")):
        if status[key] is not None:
            yield from (f"# HELP vad_{key} {words}", f"# TYPE vad_{key} gauge", f"vad_{key} {status[key]}")
    yield from ("# HELP vad_waiting messages that wait for receivers", "# TYPE vad_waiting gauge")
    yield f"vad_waiting {sum(status['waiting'].values())}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"")


@contextlib.contextmanager
def served(watch: Watch, host: str, port: int, token: str | None) -> Iterator[str]:
    """Serve the page while the block runs; yields its address, with the token: one made at random, if none is given.

    `port` 0: any that is free. Raises VadError where the port is taken, or what it needs is not installed.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError:
        raise VadError(
            "the status page needs starlette and uvicorn: pip install 'vadlib[watch]', or --no-page"
        ) from None
    token = token or secrets.token_urlsafe(16)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise VadError(f"{host}:{port}: {error.strerror or error}; give another --port or --host") from None
    config = uvicorn.Config(make_app(watch, token), log_level="warning", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), name="page", daemon=True)
    thread.start()
    shown = f"[{host}]" if ":" in host else host
    try:
        yield f"http://{shown}:{listening.getsockname()[1]}/?token={token}"
    finally:
        server.should_exit = True
        thread.join(3.0)
        listening.close()
