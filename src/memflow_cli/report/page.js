"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const film = $("film"), over = $("over"), map = $("map"), tip = $("tip");
  const segments = data.segments, isTold = data.chunks.sink.length > 0;
  let current = -1, pending = 0;

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const svg = (tag, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const clock = (seconds, digits = 2) => {
    const total = Number(seconds.toFixed(digits)), minutes = Math.floor(total / 60), hours = Math.floor(minutes / 60);
    const rest = (total - 60 * minutes).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
    return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
  };
  const short = (score) => Math.abs(score) < 1e-4 ? "0.00" : Math.abs(score) >= 1e6 ? score.toExponential(1) : Math.abs(score) >= 0.1 ? score.toFixed(2) : String(Number(score.toPrecision(2)));
  const late = (segment) => segment.own.at(-1);  // what a segment is about has come in by its end
  const picture = (index, label) => {
    const image = make("img");
    image.decoding = "async";
    image.alt = label;
    image.src = data.images[index];
    return image;
  };
  const latentSeconds = (frame) => (frame ? data.firstFrames + (frame - 1) * data.temporalStride : 0) / data.fps;
  const chunkSeconds = (chunk) => latentSeconds(chunk * data.chunk);
  const segmentAt = (seconds) => {
    let low = 0, high = segments.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (segments[middle].start <= seconds + 1e-6) low = middle; else high = middle;
    }
    return low;
  };
  const hasFilm = () => !film.hidden;
  const seek = (seconds) => { if (hasFilm()) film.currentTime = seconds + 0.001; };

  /* The head */
  $("title").textContent = data.title;
  $("facts").replaceChildren(...data.facts.map((fact) => make("span", "", fact)));
  $("made").textContent = data.made;
  if (data.problem) { $("problem").textContent = data.problem; $("problem").hidden = false; }
  document.documentElement.style.setProperty("--aspect", `${data.width} / ${data.height}`);
  document.documentElement.style.setProperty("--wide", Math.max(0.6, Math.min(3, data.width / data.height)));

  /* The strip of segments */
  const buttons = segments.map((segment, index) => {
    const item = make("li"), button = make("button"), frame = make("span", "frame"), caption = make("span", "caption");
    item.style.setProperty("--share", Math.max(segment.end - segment.start, 0.01));
    button.type = "button";
    button.title = segment.prompt.slice(0, 300);
    if (segment.own.length) frame.append(picture(late(segment).image, ""));
    caption.append(make("b", "", String(index + 1)), make("span", "", clock(segment.start, 0)));
    button.append(frame, caption);
    button.addEventListener("click", () => select(index, true));
    item.append(button);
    $("strip").append(item);
    return button;
  });

  /* One segment */
  function select(index, jump) {
    index = Math.max(0, Math.min(segments.length - 1, index));
    if (jump) seek(segments[index].start);
    if (index === current || !segments.length) return;
    if (current >= 0) buttons[current].removeAttribute("aria-current");
    current = index;
    if (location.hash !== `#${index + 1}`) history.replaceState(null, "", `#${index + 1}`);
    const segment = segments[index], button = buttons[index];
    button.setAttribute("aria-current", "true");
    const strip = button.closest("nav"), box = button.getBoundingClientRect(), frame = strip.getBoundingClientRect();
    if (box.left < frame.left + 20 || box.right > frame.right - 20)
      strip.scrollTo({ left: strip.scrollLeft + box.left - frame.left - (frame.width - box.width) / 2, behavior: "instant" });
    $("number").textContent = `Segment ${index + 1} of ${segments.length}`;
    $("times").textContent = `${clock(segment.start)} – ${clock(segment.end)}`;
    $("prompt").textContent = segment.prompt;
    $("told").textContent = segment.told;
    $("notes").textContent = segment.notes;
    $("notes").hidden = !segment.notes;
    showStill(late(segment));
    $("own").replaceChildren(...segment.own.map((own) => {
      const jumpTo = make("button");
      jumpTo.type = "button";
      jumpTo.append(picture(own.image, `Frame at ${clock(own.seconds)}`), make("span", "", clock(own.seconds)));
      jumpTo.addEventListener("click", () => { seek(own.seconds); showStill(own); });
      return jumpTo;
    }));
    showRecalled(segment);
    showOffer(segment);
    drawOver();
  }

  function showStill(own) {
    if (hasFilm()) return;
    $("still").hidden = !own;
    if (own) $("still").src = data.images[own.image];
  }

  function showRecalled(segment) {
    const count = segment.recalled.length, all = segment.numRecalled;
    if (!isTold) { $("recalled-hint").textContent = "Not known."; $("recalled").replaceChildren(); return; }
    const use = segment.chose ? "; use is the share of the model's attention that read it" : "";
    $("recalled-hint").textContent = !all ? "Nothing." :
      count < all ? `The ${count} most used of ${all} moments${use}. The score says how well a moment fits the prompt.` :
      `Most used first${use}. The score says how well a moment fits the prompt.`;
    $("recalled").replaceChildren(...segment.recalled.map((item) => {
      const row = make("li"), button = make("button"), frame = make("span", "picture"), text = make("span");
      const seconds = latentSeconds(item.frame);
      button.type = "button";
      button.title = item.given ? "A picture that the film was given" : "Show this moment";
      if (item.image !== null) frame.append(picture(item.image, item.given ? `Given picture of ${item.given}` : `Frame at ${clock(seconds)}`));
      const line = make("span"), names = item.names.length ? ` · ${item.names.join(", ")}` : "";
      if (item.given) line.append(make("span", "time", "given picture"), make("span", "from", item.given));
      else line.append(make("span", "time", clock(seconds)), make("span", "from", `segment ${item.segment + 1}${names}`));
      const meter = make("span", "meter"), bar = make("span", "bar"), fill = make("i");
      fill.style.width = `${Math.round(Math.min(1, item.use) * 100)}%`;
      bar.append(fill);
      meter.append(bar, make("span", "", `score ${short(item.score)}  ·  ${item.useText}`));
      text.append(line, meter);
      button.append(frame, text);
      button.addEventListener("click", () => {
        if (!item.given) seek(seconds);
        if (item.image !== null) showStill(item);
      });
      row.append(button);
      return row;
    }));
  }

  /* The scores of what could have been recalled, over film time */
  function showOffer(segment) {
    const offers = segment.candidates, box = $("offer");
    box.replaceChildren();
    $("offer-hint").textContent = offers.length ?
      `${segment.numCandidates} remembered moments were compared with this prompt; ` +
      (offers.length < segment.numCandidates ? `the best ${offers.length}, where they lie in the film.` : "where they lie in the film.") :
      isTold ? "Nothing was compared with this prompt." : "Not known.";
    if (!offers.length) return;
    const width = box.clientWidth || 400, height = 96, base = height - 22, top = 10;
    const scores = offers.map((offer) => offer[1]);
    const high = Math.max(...scores), low = Math.min(...scores), span = high - low || 1;
    const x = (seconds) => 6 + (seconds / data.seconds) * (width - 12);
    const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": "Scores of remembered moments" });
    chart.append(svg("line", { class: "line", x1: 0, x2: width, y1: base, y2: base }));
    for (const [frame, score, recalled] of [...offers].sort((a, b) => a[2] - b[2])) {
      const at = x(latentSeconds(frame)), y = base - 8 - ((score - low) / span) * (base - top - 8), mark = recalled ? " is-recalled" : "";
      chart.append(svg("line", { class: `stem${mark}`, x1: at, x2: at, y1: base, y2: y }));
      const dot = svg("circle", { class: `dot${mark}`, cx: at, cy: y, r: recalled ? 4 : 3 });
      dot.append(svg("title", {}, `${clock(latentSeconds(frame))}, score ${short(score)}`));
      chart.append(dot);
    }
    chart.append(svg("text", { x: 0, y: height - 4 }, "0:00"));
    chart.append(svg("text", { x: width, y: height - 4, "text-anchor": "end" }, clock(data.seconds, 0)));
    const now = x(segment.start);
    chart.append(svg("line", { class: "line", x1: now, x2: now, y1: 0, y2: base }));
    box.append(chart);
  }

  /* The map */
  const numChunks = data.numChunks, numFrames = numChunks * data.chunk;
  const area = { left: 52, top: 64, right: 10, bottom: 34 };
  const bankOf = (chunk) => data.chunks.bank[chunk] || [];
  const step = () => {
    const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 86400];
    return steps.find((value) => data.seconds / value <= Math.max(3, map.clientWidth / 110)) || 86400;
  };
  function fit(canvas) {
    const scale = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const w = width - area.left - area.right, h = height - area.top - area.bottom;
    return { pen, w, h, x: (chunk) => area.left + (chunk / numChunks) * w, y: (frame) => area.top + (frame / numFrames) * h };
  }
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  /* Above the map, each segment's number and a picture of it, as many as there is room for */
  const heads = segments.map((segment) => {
    if (!late(segment)) return null;
    const image = picture(late(segment).image, "");
    image.addEventListener("load", () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(drawMap); });
    return image;
  });
  function drawHeads(pen, x, muted) {
    const aspect = Math.max(0.4, Math.min(3, data.width / data.height)), height = 34;
    let free = 0, freeNumber = 0;
    segments.forEach((segment, index) => {
      const left = x(segment.startChunk), room = x(segment.startChunk + segment.numChunks) - left;
      const width = Math.min(height * aspect, Math.max(room - 3, height * 0.8)), image = heads[index];
      pen.fillStyle = muted;
      pen.font = `12px ${colour("--sans")}`;
      pen.textAlign = "left";
      pen.textBaseline = "alphabetic";
      if (left >= freeNumber) {
        pen.fillText(String(index + 1), left + 1, 14);
        freeNumber = left + pen.measureText(String(index + 1)).width + 8;
      }
      if (left < free || !image || !image.complete || !image.naturalWidth || left + width > x(numChunks) + 8) return;
      pen.drawImage(image, left + 1, 20 + height - width / aspect, width, width / aspect);
      free = left + width + 3;
    });
  }
  function drawMap() {
    const { pen, w, h, x, y } = fit(map), cell = w / numChunks, row = h / numFrames;
    const sink = colour("--sink"), band = colour("--window"), mark = colour("--mark"), rule = colour("--rule"), muted = colour("--muted");
    data.chunks.sink.forEach((count, chunk) => {
      const [first, length] = data.chunks.window[chunk], left = x(chunk), wide = Math.max(cell, 0.7) + 0.3;
      pen.fillStyle = sink;
      if (count) pen.fillRect(left, y(0), wide, Math.max(row * count, 2));
      pen.fillRect(left, y(chunk * data.chunk), wide, Math.max(row * data.chunk, 1));
      pen.fillStyle = band;
      if (length) pen.fillRect(left, y(first), wide, Math.max(row * length, 1));
    });
    pen.fillStyle = rule;
    segments.forEach((segment, index) => {
      if (!index || ((segment.numChunks * cell) < 3 && index % 8)) return;
      pen.fillRect(x(segment.startChunk), area.top, 1, h);
      pen.fillRect(area.left, y(segment.startChunk * data.chunk), w, 1);
    });
    data.chunks.bank.forEach((bank, chunk) => {
      for (const [frame, use] of bank) {
        pen.fillStyle = `rgba(${mark}, ${0.25 + 0.75 * Math.min(1, use / 100)})`;
        pen.fillRect(x(chunk), y(frame) - 1, Math.max(cell, 1) + 0.3, Math.max(row, 4));
      }
    });
    drawHeads(pen, x, muted);
    pen.strokeStyle = rule;
    pen.strokeRect(area.left - 0.5, area.top - 0.5, w + 1, h + 1);
    pen.fillStyle = muted;
    pen.font = `12px ${colour("--sans")}`;
    for (let seconds = 0; seconds <= data.seconds + 1e-6; seconds += step()) {
      const share = seconds / data.seconds, label = clock(seconds, 0);
      pen.textAlign = share > 0.97 ? "right" : share < 0.03 ? "left" : "center";
      pen.textBaseline = "top";
      pen.fillText(label, area.left + share * w, area.top + h + 8);
      pen.textAlign = "right";
      pen.textBaseline = share > 0.97 ? "bottom" : share < 0.03 ? "top" : "middle";
      pen.fillText(label, area.left - 8, area.top + share * h);
    }
  }
  let pointer = null;
  function drawOver() {
    const { pen, w, h, x, y } = fit(over), segment = segments[current], accent = colour("--accent");
    if (!segment) return;
    const left = x(segment.startChunk), right = x(segment.startChunk + segment.numChunks);
    pen.fillStyle = accent;
    pen.globalAlpha = 0.07;
    pen.fillRect(left, area.top, right - left, h);
    pen.globalAlpha = 1;
    pen.fillRect(left, area.top + h + 1, Math.max(2, right - left), 3);
    if (hasFilm() && film.currentTime > 0) {
      pen.fillStyle = colour("--ink");
      pen.fillRect(area.left + Math.min(1, film.currentTime / data.seconds) * w, area.top, 1, h);
    }
    if (!pointer) return;
    pen.strokeStyle = colour("--muted");
    pen.setLineDash([2, 3]);
    pen.beginPath();
    pen.moveTo(pointer.x, area.top); pen.lineTo(pointer.x, area.top + h);
    pen.moveTo(area.left, pointer.y); pen.lineTo(area.left + w, pointer.y);
    pen.stroke();
    pen.setLineDash([]);
  }
  function point(event) {
    const box = over.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
    const w = over.clientWidth - area.left - area.right, h = over.clientHeight - area.top - area.bottom;
    const chunk = Math.floor(((px - area.left) / w) * numChunks), frame = ((py - area.top) / h) * numFrames;
    if (chunk < 0 || chunk >= data.chunks.sink.length || frame < 0 || frame >= numFrames) return null;
    const reach = Math.max(1.5, (6 / h) * numFrames);
    const nearest = bankOf(chunk).filter((item) => Math.abs(item[0] + 0.5 - frame) <= reach)
      .sort((a, b) => Math.abs(a[0] + 0.5 - frame) - Math.abs(b[0] + 0.5 - frame))[0];
    return { x: px, y: py, chunk, frame: Math.floor(frame), nearest };
  }
  function describe(at) {
    const { chunk, frame, nearest } = at, [first, length] = data.chunks.window[chunk];
    const now = `making ${clock(chunkSeconds(chunk))}`;
    const used = nearest && segments[segmentAt(chunkSeconds(chunk))].chose ? `use ${nearest[1]}%, ` : "";
    if (nearest) return `${now}\nrecalls ${clock(latentSeconds(nearest[0]))}\n${used}score ${short(nearest[2])}`;
    if (frame >= chunk * data.chunk) return frame < (chunk + 1) * data.chunk ? `${now}\nthis moment itself` : `${now}\nnot made yet`;
    if (frame < data.chunks.sink[chunk]) return `${now}\nsees the film's opening`;
    if (length && frame >= first && frame < first + length) return `${now}\nsees the last seconds`;
    return `${now}\ndoes not see ${clock(latentSeconds(frame))}`;
  }
  over.addEventListener("pointermove", (event) => {
    pointer = point(event);
    tip.hidden = !pointer;
    if (pointer) {
      $("tip-text").textContent = describe(pointer);
      $("tip-text").style.whiteSpace = "pre-line";
      const image = pointer.nearest ? data.imageOfFrame[pointer.nearest[0]] : undefined;
      $("tip-picture").hidden = image === undefined;
      if (image !== undefined) $("tip-picture").src = data.images[image];
      const flip = pointer.x > over.clientWidth - 220;
      tip.style.left = `${flip ? pointer.x - 206 : pointer.x + 16}px`;
      tip.style.top = `${Math.max(0, Math.min(pointer.y + 14, over.clientHeight - 190))}px`;
    }
    drawOver();
  });
  over.addEventListener("pointerleave", () => { pointer = null; tip.hidden = true; drawOver(); });
  over.addEventListener("click", (event) => {
    const at = point(event);
    if (!at) return;
    const seconds = chunkSeconds(at.chunk);
    select(segmentAt(seconds), false);
    seek(seconds);
  });

  /* The archive */
  function drawArchive() {
    const sizes = data.chunks.archive, box = $("archive");
    const most = Math.max(0, ...sizes.filter((_, index) => index % Math.ceil(sizes.length / 5000) === 0), sizes.at(-1) || 0);
    $("archive-hint").textContent = most ?
      `Moments kept for later, as the film goes on: ${sizes.at(-1)} at its end${sizes.at(-1) < most ? `, ${most} at most` : ""}.` :
      "Nothing was kept for later.";
    box.replaceChildren();
    if (!most) return;
    const width = box.clientWidth || 900, height = 110, base = height - 20, every = Math.max(1, Math.floor(sizes.length / 800));
    const at = (index) => `${((index / numChunks) * width).toFixed(1)},${(base - (sizes[index] / most) * (base - 14)).toFixed(1)}`;
    const points = [];
    for (let index = 0; index < sizes.length; index += every) points.push(at(index));
    const end = (sizes.length / numChunks) * width;
    points.push(`${end.toFixed(1)},${(base - (sizes.at(-1) / most) * (base - 14)).toFixed(1)}`);
    const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": "Moments kept for later, over time" });
    chart.append(svg("path", { class: "area", d: `M0,${base} L${points.join(" L")} L${end},${base} Z` }));
    chart.append(svg("path", { class: "edge", d: `M${points.join(" L")}` }));
    chart.append(svg("line", { class: "line", x1: 0, x2: width, y1: base, y2: base }));
    chart.append(svg("text", { x: 0, y: height - 4 }, "0:00"));
    chart.append(svg("text", { x: width, y: height - 4, "text-anchor": "end" }, clock(data.seconds, 0)));
    chart.append(svg("text", { x: end - 4, y: 10, "text-anchor": "end" }, `${sizes.at(-1)}`));
    box.append(chart);
  }

  /* The film beside it */
  film.addEventListener("error", () => { film.hidden = true; showStill(segments[current] && late(segments[current])); });
  film.addEventListener("timeupdate", () => {
    if (!film.paused) select(segmentAt(film.currentTime), false);
    drawOver();
  });
  if (data.film) { film.hidden = false; film.src = data.film; }

  /* Keyboard, theme, size */
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const move = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (move !== undefined) select(current + move, true);
    else if (event.key === " " && hasFilm()) film.paused ? film.play() : film.pause();
    else if (event.key === "t") switchTheme();
    else return;
    event.preventDefault();
  }, true);
  // A button that was clicked has the keyboard: let go of, the space bar would press it again.
  document.addEventListener("keyup", (event) => { if (event.key === " " && hasFilm()) event.preventDefault(); }, true);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  function switchTheme() {
    const root = document.documentElement, now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    redraw();
  }
  $("theme").addEventListener("click", switchTheme);
  dark.addEventListener("change", redraw);
  function redraw() {
    drawMap();
    drawOver();
    drawArchive();
    if (segments[current]) showOffer(segments[current]);
  }
  window.addEventListener("resize", () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(redraw); });
  for (const id of ["map-section", "archive-section"]) $(id).hidden = !isTold;
  drawMap();
  drawArchive();
  const asked = () => { const number = Math.floor(Number(location.hash.slice(1))); return number >= 1 ? number - 1 : data.first; };
  select(asked(), true);
  window.addEventListener("hashchange", () => select(asked(), true));
})();
