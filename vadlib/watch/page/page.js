"use strict";
// Asks once a second how the cameras do, and shows it. Text is only ever set as text.
const SECONDS = 120; // of the curve
const curves = new Map(); // camera: {points: [[wall, score]], threshold}
const byId = (id) => document.getElementById(id);
const copy = (id) => byId(id).content.firstElementChild.cloneNode(true);

async function get(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

function cameraOf(name) {
  let card = [...byId("cameras").children].find((c) => c.dataset.name === name);
  if (!card) {
    card = copy("camera");
    card.dataset.name = name;
    card.querySelector(".name").textContent = name;
    byId("cameras").append(card);
    curves.set(name, { points: [], threshold: 0 });
  }
  return card;
}

function lasting(seconds) {
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function oneIn(count) {
  return count === 1 ? "all" : `1 in ${count}`;
}

function showHealth(card, camera) {
  card.classList.toggle("alarm", camera.event !== null);
  const state = card.querySelector(".state");
  state.textContent = camera.event ? `${camera.state}, an event is going on` : camera.error || camera.state;
  state.className = `state ${camera.event ? "" : camera.state}`;
  const drift = card.querySelector(".drift"), due = camera.drift.filter((d) => d.why);
  drift.hidden = due.length === 0;
  drift.textContent = due.map((d) => `Time to ${d.state} ${d.model}: ${d.why}.`).join(" ");
  const rows = {
    Model: camera.model,
    Score: camera.score === null ? "no boxes" : camera.score.toFixed(1), "Threshold": camera.threshold.toFixed(1),
    "Frames/s": camera.frames_per_s.toFixed(1), "Scored/s": camera.looked_at_per_s.toFixed(1),
    "Frames looked at": oneIn(camera.n), "Objects measured": oneIn(camera.n * camera.k), "Lag": `${camera.lag_s.toFixed(2)} s`, "To event": `${camera.event_lag_s.toFixed(2)} s`,
    "Left out": camera.left_out, "Reconnects": camera.reconnects, "Events": camera.events,
    "Drift": camera.drift.map((d) => d.state === "unknown" ? `${d.days} of 3 days` : d.state).join(", "),
  };
  card.querySelector("dl").replaceChildren(...Object.entries(rows).map(([name, value]) => {
    const row = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = name; dd.textContent = value; row.append(dt, dd);
    return row;
  }));
}

function draw(card, { points, threshold }) {
  const canvas = card.querySelector(".curve"), ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight, style = getComputedStyle(document.body);
  canvas.width = width * ratio; canvas.height = height * ratio;
  canvas.setAttribute("aria-label", `anomaly score of the last ${SECONDS} seconds, threshold ${threshold.toFixed(1)}`);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const scores = points.map((p) => p[1]).filter((s) => s !== null);
  const low = Math.min(threshold, ...scores), high = Math.max(threshold, ...scores), span = (high - low) || 1;
  const end = points.length ? points[points.length - 1][0] : 0;
  const x = (wall) => width - (end - wall) / SECONDS * width;
  const y = (score) => height - 8 - (score - low) / span * (height - 24);
  pen.strokeStyle = pen.fillStyle = style.getPropertyValue("--bad");
  pen.setLineDash([5, 5]); pen.beginPath(); pen.moveTo(0, y(threshold)); pen.lineTo(width, y(threshold)); pen.stroke();
  pen.setLineDash([]); pen.strokeStyle = style.getPropertyValue("--curve"); pen.lineWidth = 1.5; pen.beginPath();
  let before = null;
  for (const [wall, score] of points) {
    if (score !== null) {
      if (before === null || wall - before > 2) pen.moveTo(x(wall), y(score)); else pen.lineTo(x(wall), y(score));
      before = wall;
    }
  }
  pen.stroke();
}

async function showCurve(card, name) {
  const curve = curves.get(name), last = curve.points.length ? curve.points[curve.points.length - 1][0] : 0;
  const found = await get(`/cameras/${encodeURIComponent(name)}/curve?after=${last}`);
  curve.threshold = found.threshold;
  curve.points.push(...found.points);
  const end = curve.points.length ? curve.points[curve.points.length - 1][0] : 0;
  curve.points = curve.points.filter((p) => p[0] > end - SECONDS);
  draw(card, curve);
}

function showEvent(event) {
  let row = [...byId("events").children].find((e) => e.dataset.id === event.id);
  if (!row) {
    row = copy("event");
    row.dataset.id = event.id;
    row.querySelector(".play").addEventListener("click", () => play(row));
    for (const button of row.querySelectorAll("[data-label]")) {
      button.addEventListener("click", () => label(row, button.dataset.label));
    }
  }
  const place = `/events/${encodeURIComponent(event.id)}`, when = new Date(event.begin);
  if (row.dataset.state !== event.state) {
    row.dataset.state = event.state;
    const image = row.querySelector(".thumbnail");
    image.src = `${place}/thumbnail.jpg?${event.state}`;
    image.alt = `${event.camera}: the frame of the highest score`;
  }
  row.querySelector("h3").textContent = `${when.toLocaleString()} · ${event.camera}`;
  row.querySelector(".duration").textContent = event.state === "end" ? `${event.seconds.toFixed(1)} s ▶` : "going on";
  row.querySelector(".play").setAttribute("aria-label", `Play the clip of ${when.toLocaleString()}, ${event.camera}`);
  row.querySelector(".reason").textContent = event.reason || "Above the threshold.";
  const details = [event.class, event.model, `score ${event.score.toFixed(1)}`, `track ${event.track}`];
  row.querySelector(".details").textContent = details.filter(Boolean).join(" · ");
  for (const button of row.querySelectorAll("[data-label]")) {
    button.setAttribute("aria-pressed", String(button.dataset.label === event.label));
  }
  return row;
}

function play(row) {
  if (row.dataset.state !== "end" || row.querySelector("video")) return;
  const video = document.createElement("video");
  video.controls = video.muted = video.playsInline = true;
  video.src = `/events/${encodeURIComponent(row.dataset.id)}/clip.mp4`;
  row.classList.add("open");
  row.querySelector(".play").hidden = true; // its parts are still kept up to date
  row.prepend(video);
  video.play().catch(() => {});
}

async function label(row, said) {
  const answer = await fetch(`/api/events/${encodeURIComponent(row.dataset.id)}/label`,
    { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ label: said }) });
  if (answer.ok) await showEvents();
}

async function showEvents() {
  const events = await get("/api/events"), list = byId("events");
  byId("none").hidden = events.length > 0;
  const rows = events.map(showEvent);
  // Moved only where the order has changed: a video that is moved stops.
  if (rows.length !== list.children.length || rows.some((row, i) => list.children[i] !== row)) list.replaceChildren(...rows);
}

async function show() {
  try {
    const status = await get("/api/status");
    for (const camera of status.cameras) {
      const card = cameraOf(camera.name), image = card.querySelector(".frame");
      showHealth(card, camera);
      if (camera.looked_at) {
        image.src = `/cameras/${encodeURIComponent(camera.name)}/frame.jpg?${camera.frames}`;
        image.alt = `last frame of ${camera.name}, with its boxes`;
        await showCurve(card, camera.name);
      }
    }
    const waiting = Object.values(status.waiting).reduce((a, b) => a + b, 0);
    const away = status.receivers.filter((r) => r.away).length;
    byId("summary").textContent = `${status.cameras.length} camera${status.cameras.length === 1 ? "" : "s"} · up ` +
      `${lasting(status.seconds)} · ${Math.round(status.memory_mib ?? 0)} MiB` +
      (waiting ? ` · ${waiting} messages wait for ${away} receiver${away === 1 ? "" : "s"}` : "");
    document.querySelector('[aria-labelledby="notes-title"]').hidden = status.notes.length === 0;
    byId("notes").replaceChildren(...status.notes.reverse().map((note) => {
      const row = document.createElement("li");
      row.textContent = note;
      return row;
    }));
    await showEvents();
  } catch (error) {
    byId("summary").textContent = `not reached: ${error.message}`;
  }
  setTimeout(show, 1000);
}
show();
