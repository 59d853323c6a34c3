"use strict";
// The page's charts. Names from files are only ever set as text, and never given to Plotly, which reads markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const curve = byId("curve");
  const state = { clip: 0, frame: null };
  const CONFIG = {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  const narrow = () => window.innerWidth <= 560;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const number = (value, digits = 2) => (value === null ? "none" : value.toFixed(digits).replace("-", "−"));

  function clock(seconds) {
    const whole = Math.floor(seconds / 60);
    const rest = (seconds - 60 * whole).toFixed(2).padStart(5, "0");
    const hours = Math.floor(whole / 60);
    return hours ? `${hours}:${String(whole % 60).padStart(2, "0")}:${rest}` : `${whole}:${rest}`;
  }

  // Points of a clip: one a frame, or one for each `step` frames.
  const frameOf = (clip, point) => (clip.at ? clip.at[point] : point);
  function timeOf(clip, frame) {
    if (clip.times) return clip.times[Math.min(Math.floor(frame / data.step), clip.times.length - 1)];
    return clip.fps ? frame / clip.fps : null;
  }
  // Clips with times of their own have a time axis: by the clock, where it is known, else as dates of the first day
  // Plotly's calendar counts from. Dates are given as text: Plotly takes a small number for a year.
  const beginOf = (clip) => (clip.begins === null ? 0 : Date.parse(`${clip.begins}Z`));
  const dateOf = (clip, seconds) => new Date(beginOf(clip) + Math.round(1000 * seconds)).toISOString().slice(0, -1);
  const xOf = (clip, frame) => (clip.times ? dateOf(clip, timeOf(clip, frame)) : frame);
  const place = (clip, frame) => {
    const time = timeOf(clip, frame);
    const by = time === null || clip.begins === null ? "" : `${dateOf(clip, time).slice(11, 19)} · `;
    return `${by}frame ${frame}` + (time === null ? "" : ` · ${clock(time)}`);
  };
  // What the curve marks: events, where the page tells of such.
  const marks = data.events.length ? data.events : data.anomalies;

  function layout(more) {
    const axis = {
      gridcolor: colour("grid"), linecolor: colour("line"), zerolinecolor: colour("line"),
      tickfont: { size: 12 }, title: { font: { size: 13 }, standoff: 8 }, automargin: true,
    };
    const { xaxis, yaxis, ...rest } = more;
    const titled = (a) => ({ ...axis, ...a, title: { ...axis.title, text: a.title } });
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, color: colour("muted"), size: 12 },
      margin: { l: 48, r: 12, t: 34, b: 44 }, showlegend: false, dragmode: "zoom",
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("muted"), activecolor: colour("accent") },
      hoverlabel: { bgcolor: colour("surface"), bordercolor: colour("line"), font: { color: colour("text"), size: 13 } },
      xaxis: titled(xaxis), yaxis: titled(yaxis), ...rest,
    };
  }

  function thresholdLine(vertical) {
    if (data.threshold === null) return [];
    const across = vertical
      ? { xref: "x", yref: "paper", x0: data.threshold, x1: data.threshold, y0: 0, y1: 1 }
      : { xref: "paper", yref: "y", x0: 0, x1: 1, y0: data.threshold, y1: data.threshold };
    return [{ type: "line", ...across, line: { color: colour("threshold"), width: 1.5, dash: "dash" } }];
  }

  function drawCurve(range) {
    const clip = data.clips[state.clip];
    const frames = clip.scores.map((_, point) => frameOf(clip, point));
    const x = frames.map((frame) => xOf(clip, frame));
    const last = clip.frames - 1;
    const whole = [xOf(clip, 0), xOf(clip, last)];
    const label = (frame) =>
      clip.spans === null ? "" : clip.spans.some(([a, b]) => a <= frame && frame < b) ? "<br>labelled anomalous" : "<br>labelled normal";
    const peaks = marks.filter((a) => a.clip === state.clip);
    const hover = "%{customdata}<extra></extra>";
    const line = {
      x, y: clip.scores, mode: "lines", connectgaps: false, line: { color: colour("accent"), width: 1.6 },
      customdata: frames.map((f, i) => `${place(clip, f)}<br>score ${number(clip.scores[i])}${label(f)}`), hovertemplate: hover,
    };
    // A frame between two without boxes has no neighbour to draw a line to.
    const alone = frames.map((_, i) => clip.scores[i] !== null && (clip.scores[i - 1] ?? null) === null && (clip.scores[i + 1] ?? null) === null);
    if (alone.some(Boolean)) Object.assign(line, { mode: "lines+markers", marker: { size: alone.map((a) => (a ? 4 : 0)), color: colour("accent"), line: { width: 0 } } });
    const dots = {
      x: peaks.map((a) => xOf(clip, a.frame)), y: peaks.map((a) => a.score), mode: "markers", hoverinfo: "skip",
      marker: { size: peaks.map((a) => (a.frame === state.frame ? 13 : 9)), color: colour("surface"), line: { color: colour("anomalous"), width: 2 } },
    };
    const shapes = (clip.spans ?? []).map(([start, stop]) => ({
      type: "rect", xref: "x", yref: "paper", x0: clip.times ? xOf(clip, start) : start - 0.5,
      x1: clip.times ? xOf(clip, stop - 1) : stop - 0.5, y0: 0, y1: 1, layer: "below", fillcolor: colour("span"), line: { width: 0 },
    }));
    if (state.frame !== null) {
      const at = xOf(clip, state.frame);
      shapes.push({ type: "line", xref: "x", yref: "paper", x0: at, x1: at, y0: 0, y1: 1, line: { color: colour("anomalous"), width: 1, dash: "dot" } });
    }
    const xaxis = { title: clip.times ? (clip.begins === null ? "time" : "time of day") : "frame", range: range ?? whole, zeroline: false };
    if (clip.times) Object.assign(xaxis, { type: "date", tickformat: clip.begins !== null || (last && timeOf(clip, last) >= 3600) ? "%H:%M:%S" : "%M:%S" });
    Plotly.react(curve, [line, dots], layout({
      xaxis, yaxis: { title: "anomaly score", fixedrange: true }, shapes: [...shapes, ...thresholdLine(false)],
      hovermode: "x",
    }), CONFIG);
  }

  function describe() {
    const clip = data.clips[state.clip];
    byId("clip-title").textContent = `Clip ${clip.name}`;
    const at = state.frame === null ? null : [...marks, ...data.anomalies].find((a) => a.clip === state.clip && a.frame === state.frame);
    byId("status").textContent = at
      ? `${place(clip, at.frame)} · score ${number(at.score)}`
      : `${clip.frames.toLocaleString("en")} frames · peak ${number(clip.highest)}`;
    for (const row of document.querySelectorAll("#clips tbody tr")) {
      if (Number(row.dataset.clip) === state.clip) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    const figure = byId("video-figure");
    if (figure) {
      figure.hidden = clip.video === null;
      const video = byId("video");
      if (clip.video === null) video.removeAttribute("src");
      else if (video.getAttribute("src") !== clip.video) video.src = clip.video;
      video.setAttribute("aria-label", `Annotated video of ${clip.name}`);
    }
  }

  function show(clip, frame = null) {
    Object.assign(state, { clip, frame });
    describe();
    const shown = data.clips[clip];
    const around = 100;
    const ends = frame === null ? null : [Math.max(0, frame - around), Math.min(shown.frames - 1, frame + around)];
    drawCurve(ends && ends.map((end) => xOf(shown, end)));
    if (frame !== null) seek(frame);
  }

  function seek(frame) {
    const clip = data.clips[state.clip];
    const time = timeOf(clip, frame);
    if (clip.video === null || time === null) return;
    byId("video").currentTime = time;
    reveal();
  }

  // On a phone the list of events comes first: the video is there once it is asked for.
  function reveal() {
    const player = document.querySelector(".player");
    if (!player) return;
    player.classList.add("asked");
    byId("video").scrollIntoView({ behavior: "instant", block: "nearest" });
  }

  function play(item) {
    const event = data.events[Number(item.dataset.event)];
    const clip = data.clips[event.clip];
    Object.assign(state, { clip: event.clip, frame: event.frame });
    describe();
    const last = timeOf(clip, clip.frames - 1);
    drawCurve([Math.max(0, event.start - 5), Math.min(last, event.end + 5)].map((time) => dateOf(clip, time)));
    for (const other of document.querySelectorAll("#events li")) other.toggleAttribute("aria-current", other === item);
    if (clip.video === null) return byId("curves-title").scrollIntoView({ behavior: "instant", block: "start" });
    byId("video").currentTime = Math.max(0, event.start - 2);
    reveal();
    byId("video").play().catch(() => {}); // a browser may want another click
  }

  function order(button) {
    const list = byId("events");
    const by = button.dataset.order;
    const sign = by === "value" ? -1 : 1;
    list.append(...[...list.children].sort((a, b) => sign * (a.dataset[by] - b.dataset[by])));
    for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
  }

  // A table that goes on beyond its edge fades there, and says so.
  function fade(scrolled) {
    const right = scrolled.scrollWidth - scrolled.clientWidth - scrolled.scrollLeft > 2;
    const below = scrolled.scrollHeight - scrolled.clientHeight - scrolled.scrollTop > 2;
    scrolled.classList.toggle("more-right", right);
    scrolled.classList.toggle("more-below", below);
    const hint = scrolled.nextElementSibling;
    if (!hint?.classList.contains("scroll-hint")) return;
    const wide = scrolled.scrollWidth - scrolled.clientWidth > 2;
    const high = scrolled.scrollHeight - scrolled.clientHeight > 2;
    hint.hidden = !wide && !high;
    hint.textContent = wide && high ? "The table goes on: scroll in it, down and sideways." :
      wide ? "The table goes on to the right: scroll it sideways." : "The table goes on: scroll in it.";
  }

  function sortBy(header, column) {
    const heads = [...document.querySelectorAll("#clips thead th")];
    const rising = header.getAttribute("aria-sort") === "descending" || (column === 0 && header.getAttribute("aria-sort") === "none");
    heads.forEach((head) => head.setAttribute("aria-sort", head === header ? (rising ? "ascending" : "descending") : "none"));
    const body = document.querySelector("#clips tbody");
    const value = (row) => row.children[column].dataset.value;
    const rows = [...body.rows].sort((a, b) => {
      if (value(a) === "" || value(b) === "") return (value(a) === "") - (value(b) === ""); // nothing comes last
      return (rising ? 1 : -1) * (value(a) - value(b));
    });
    body.append(...rows);
  }

  function drawRest() {
    if (!data.roc) return;
    const small = { ...CONFIG, displayModeBar: false };
    const rates = { range: [-0.01, 1.01], tickformat: ".0%", dtick: 0.25, zeroline: false, fixedrange: true };
    Plotly.react(byId("roc"), [
      { x: [0, 1], y: [0, 1], mode: "lines", hoverinfo: "skip", line: { color: colour("muted"), width: 1, dash: "dot" } },
      {
        x: data.roc.fpr, y: data.roc.tpr, mode: "lines", line: { color: colour("accent"), width: 2 },
        hovertemplate: "%{y:.1%} of anomalous frames found<br>at %{x:.1%} false alarms<extra></extra>",
      },
    ], layout({
      xaxis: { ...rates, title: "false positive rate" }, yaxis: { ...rates, title: "true positive rate" },
      margin: { l: 56, r: 28, t: 12, b: 44 },
    }), small);
    const { edges, normal, anomalous } = data.histogram;
    const middle = edges.slice(1).map((edge, i) => (edge + edges[i]) / 2);
    const bars = (y, name, tone) => ({
      type: "bar", x: middle, y, width: edges[1] - edges[0], marker: { color: tone }, opacity: 0.65,
      customdata: middle.map((_, i) => [edges[i], edges[i + 1]]),
      hovertemplate: `%{y:.1%} of ${name} frames<br>score %{customdata[0]:.2f} to %{customdata[1]:.2f}<extra></extra>`,
    });
    Plotly.react(byId("histogram"), [bars(normal, "normal", colour("normal")), bars(anomalous, "anomalous", colour("anomalous"))], layout({
      barmode: "overlay", bargap: 0, xaxis: { title: "anomaly score", zeroline: false, fixedrange: true },
      yaxis: { title: "share of the frames", tickformat: ".0%", fixedrange: true }, shapes: thresholdLine(true),
      margin: { l: 56, r: 12, t: 12, b: 44 },
    }), small);
  }

  document.querySelector("#clips")?.addEventListener("click", (event) => {
    const head = event.target.closest("thead th");
    if (head) return sortBy(head, [...head.parentElement.children].indexOf(head));
    const row = event.target.closest("tbody tr");
    if (row) show(Number(row.dataset.clip));
  });
  document.querySelectorAll(".card").forEach((card) => {
    card.querySelector(".jump").addEventListener("click", () => {
      const anomaly = data.anomalies[Number(card.dataset.anomaly)];
      show(anomaly.clip, anomaly.frame);
      byId("curves-title").scrollIntoView({ behavior: "instant", block: "start" });
    });
  });
  byId("events")?.addEventListener("click", (event) => {
    const item = event.target.closest("li");
    if (item) play(item);
  });
  document.querySelectorAll("[data-order]").forEach((button) => button.addEventListener("click", () => order(button)));
  byId("video")?.addEventListener("error", (event) => {
    if (!event.target.getAttribute("src")) return;
    byId("video-missing").textContent = `${event.target.getAttribute("src")} is not beside this page, or cannot be played: keep both in one folder.`;
    byId("video-missing").hidden = false;
  });
  const scrolled = document.querySelectorAll(".table-scroll");
  for (const table of scrolled) {
    table.addEventListener("scroll", () => fade(table), { passive: true });
    new ResizeObserver(() => fade(table)).observe(table);
  }
  const redraw = () => {
    drawCurve(curve.layout?.xaxis?.range?.slice());
    drawRest();
  };
  if (narrow()) document.querySelectorAll(".card:not(:first-child) details").forEach((details) => (details.open = false));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  show(0);
  curve.on("plotly_click", ({ points }) => seek(frameOf(data.clips[state.clip], points[0].pointIndex)));
  drawRest();
})();
