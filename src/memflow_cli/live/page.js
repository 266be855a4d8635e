"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const film = $("film"), prompt = $("prompt"), strip = $("strip"), segmentList = $("segments");
  const KEEP_SECONDS = 60; // of film behind the player, before the browser is asked to let go of it
  const STALL_SECONDS = 0.25; // of film that must lie ahead before playing goes on
  const STARVED_SECONDS = 0.6; // of standing still although film lies ahead: the browser wants more of it before it goes on

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const clock = (seconds) => {
    const total = Math.max(0, Math.floor(seconds + 0.01));
    return `${Math.floor(total / 60)}:${String(total % 60).padStart(2, "0")}`;
  };

  /* Light and dark */
  $("theme").addEventListener("click", () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  });

  /* What the server has told */
  let hello = null, isPaused = false, isOver = false;
  const segments = []; // {prompt, start, item}
  const chunks = []; // {start, end, segment, thumb, item, recalled}
  const earlier = []; // prompts of this session, for the arrow keys
  let recalledFrom = 0, draft = "";

  /* Video: fragments into a MediaSource, one after the other */
  const source = new MediaSource();
  const waiting = []; // steps for the source buffer, each a function that begins one
  let buffer = null, offset = null;
  film.src = URL.createObjectURL(source);

  const pump = () => {
    while (buffer && !buffer.updating && waiting.length) {
      const step = waiting.shift();
      try {
        step();
      } catch (error) {
        if (error.name !== "QuotaExceededError") { say(`The player stopped: ${error.message}`, true); return; }
        waiting.unshift(step);
        buffer.remove(0, Math.max(0.1, film.currentTime - 5));
        return;
      }
    }
  };
  const append = (start, bytes) => waiting.push(() => {
    if (offset !== start) { buffer.abort(); buffer.timestampOffset = start; offset = start; }
    buffer.appendBuffer(bytes);
  });
  const forget = (from) => waiting.push(() => {
    offset = null; // what comes next has a head of its own
    buffer.abort();
    if (buffer.buffered.length) buffer.remove(from, Infinity);
  });
  const openBuffer = () => {
    if (buffer || !hello || !hello.mime || source.readyState !== "open") return;
    if (!MediaSource.isTypeSupported(hello.mime)) { say(`This browser does not play ${hello.mime}.`, true); return; }
    buffer = source.addSourceBuffer(hello.mime);
    buffer.addEventListener("updateend", () => { trim(); pump(); start(); });
    pump();
  };
  const trim = () => {
    if (buffer.updating || !buffer.buffered.length) return;
    const first = buffer.buffered.start(0);
    if (film.currentTime - first > 2 * KEEP_SECONDS) buffer.remove(first, film.currentTime - KEEP_SECONDS);
  };
  source.addEventListener("sourceopen", openBuffer);

  const ahead = () => {
    for (let index = 0; index < film.buffered.length; index += 1)
      if (film.buffered.start(index) <= film.currentTime + 0.1 && film.buffered.end(index) > film.currentTime)
        return film.buffered.end(index) - film.currentTime;
    return 0;
  };
  const start = () => {
    if (!film.buffered.length) return;
    $("curtain").hidden = true;
    if (film.currentTime < film.buffered.start(0)) film.currentTime = film.buffered.start(0);
    if (film.paused && !isPaused && (ahead() > STALL_SECONDS || isOver)) film.play().catch(() => {});
  };
  let stalls = [], waitingSince = null;
  film.addEventListener("waiting", () => { if (!isPaused && !isOver) waitingSince = waitingSince ?? performance.now(); });
  film.addEventListener("playing", () => {
    if (waitingSince !== null) stalls.push((performance.now() - waitingSince) / 1000);
    waitingSince = null;
  });
  window.memflowStalls = () => stalls.slice(); // read by the project's own tests, and by whoever is curious

  /* The socket */
  const socket = new WebSocket(`ws://${location.host}${location.pathname}socket`);
  socket.binaryType = "arraybuffer";
  const ask = (content) => { if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(content)); };
  socket.addEventListener("close", () => {
    if (!isOver) tellState("The film's command has ended.");
    for (const control of document.querySelectorAll("#say button, #say textarea")) control.disabled = true;
  });
  socket.addEventListener("message", (event) => {
    if (typeof event.data === "string") {
      const content = JSON.parse(event.data);
      (heard[content.type] || (() => {}))(content);
      return;
    }
    append(new DataView(event.data).getFloat64(0, true), event.data.slice(8));
    pump();
  });

  const bringIntoList = (item) => { // scrolls the list alone, never the page away from the film
    const top = item.offsetTop - segmentList.offsetTop, list = segmentList;
    if (top < list.scrollTop) list.scrollTop = top;
    if (top + item.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top + item.offsetHeight - list.clientHeight;
  };
  const heard = {
    hello(content) {
      hello = content;
      document.title = `${content.title} · memflow`;
      if (content.width) document.documentElement.style.setProperty("--aspect", `${content.width} / ${content.height}`);
      if (!content.mime) $("curtain").textContent = "Say what happens first.";
      $("kind").textContent = content.mode === "live" ? "Live" : "Being made";
      $("kind").classList.toggle("is-live", content.mode === "live");
      $("title").textContent = content.title;
      $("facts").replaceChildren(...content.facts.map((fact) => make("span", "", fact)));
      $("say").hidden = content.mode !== "live";
      if (content.mode === "live") prompt.focus();
      openBuffer();
    },
    segment(content) {
      const item = make("li", content.transition === "cut" ? "is-cut" : "");
      item.append(make("span", "", clock(content.start)), make("p", "", content.prompt));
      segments[content.index] = { ...content, item };
      segmentList.append(item);
      if (hello && hello.mode === "live") bringIntoList(item);
    },
    chunk(content) {
      const item = make("li", chunks.length === 0 || chunks.at(-1).segment !== content.segment ? "begins" : "");
      const image = make("img");
      image.alt = `The film at ${clock(content.start)}`;
      image.src = content.thumb;
      item.append(image, make("span", "", clock(content.start)));
      const atEnd = strip.scrollLeft + strip.clientWidth > strip.scrollWidth - 140;
      strip.append(item);
      if (atEnd) strip.scrollLeft = strip.scrollWidth;
      chunks.push({ ...content, item });
      $("pace").textContent = content.pace;
    },
    undone(content) {
      while (chunks.length && chunks.at(-1).start >= content.start - 1e-6) chunks.pop().item.remove();
      while (segments.length > content.segments) { const gone = segments.pop(); if (gone) gone.item.remove(); }
      forget(content.start);
      pump();
      if (film.currentTime > content.start) film.currentTime = Math.max(0, content.start - 0.05);
      say(`Back at ${clock(content.start)}.`);
    },
    resumed(content) {
      const at = clock(content.start);
      $("curtain").textContent = "Say what happens next.";
      say(`The film goes on at ${at}, where it was left.`);
    },
    from(content) { say(`From ${clock(content.start)} on.`); },
    refused(content) { say(content.text, true); },
    state(content) {
      isPaused = content.paused;
      $("pause").setAttribute("aria-pressed", String(isPaused));
      $("pause").textContent = isPaused ? "Go on" : "Pause";
      if (isPaused) film.pause(); else start();
      tellState(content.text);
    },
    done(content) {
      isOver = true;
      if (buffer && source.readyState === "open") waiting.push(() => source.endOfStream());
      pump();
      for (const control of document.querySelectorAll("#say button, #say textarea")) control.disabled = true;
      tellState(content.text);
      $("pace").textContent = "";
    },
  };

  const tellState = (text) => { $("state").textContent = text; };
  const say = (text, refused = false) => {
    const place = hello && hello.mode !== "live" ? $("state") : $("answer");
    place.textContent = text;
    place.classList.toggle("is-refused", refused);
  };

  /* Steering */
  const send = (isCut) => {
    const text = prompt.value.trim();
    if (!text) return;
    ask({ type: "prompt", text, cut: isCut });
    if (earlier.at(-1) !== text) earlier.push(text);
    recalledFrom = earlier.length;
    draft = prompt.value = "";
    say("Heard.");
  };
  const bringBack = (step) => {
    if (recalledFrom === earlier.length) draft = prompt.value;
    recalledFrom = Math.min(earlier.length, Math.max(0, recalledFrom + step));
    prompt.value = recalledFrom === earlier.length ? draft : earlier[recalledFrom];
    prompt.setSelectionRange(prompt.value.length, prompt.value.length);
  };
  $("say").addEventListener("submit", (event) => { event.preventDefault(); send(false); });
  $("cut").addEventListener("click", () => send(true));
  prompt.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter") { event.preventDefault(); send(event.shiftKey); }
    if (event.key === "ArrowUp" && !prompt.value.slice(0, prompt.selectionStart).includes("\n")) { event.preventDefault(); bringBack(-1); }
    if (event.key === "ArrowDown" && !prompt.value.slice(prompt.selectionEnd).includes("\n")) { event.preventDefault(); bringBack(1); }
  });
  $("undo").addEventListener("click", () => ask({ type: "undo" }));
  $("finish").addEventListener("click", () => { ask({ type: "finish" }); say("The film ends with this moment."); });
  $("pause").addEventListener("click", () => {
    if (hello && hello.mode === "live" && !isOver) { ask({ type: "pause", on: !isPaused }); return; }
    isPaused = !isPaused;
    heard.state({ paused: isPaused, text: "" });
  });
  $("now").addEventListener("click", () => { if (film.buffered.length) film.currentTime = film.buffered.end(film.buffered.length - 1) - 0.3; });

  /* Whether the player stands still for want of film. After a few stalls a browser waits for more than lies ahead. */
  let movedTo = -1, movedAt = performance.now();
  const isStarved = () => {
    if (isPaused || film.currentTime !== movedTo) { movedTo = film.currentTime; movedAt = performance.now(); }
    return ahead() > 0 && performance.now() - movedAt > 1000 * STARVED_SECONDS;
  };

  /* What is playing, and what memory recalls for it */
  let shown = null;
  const follow = () => {
    const time = film.currentTime;
    $("clock").textContent = clock(time);
    $("now").hidden = isOver || ahead() < 6;
    const chunk = chunks.findLast((item) => item.start <= time + 0.02) || null;
    if (chunk === shown) return;
    shown = chunk;
    for (const item of chunks) item.item.className = item.item.classList.contains("begins") ? "begins" : "";
    segments.forEach((segment, index) => segment.item.classList.toggle("is-current", chunk !== null && index === chunk.segment));
    if (chunk && segments[chunk.segment]) bringIntoList(segments[chunk.segment].item);
    if (!chunk) return;
    chunk.item.classList.add("is-playing");
    const pictures = chunk.recalled.map(({ seconds, share }) => {
      const past = chunks.findLast((item) => item.start <= seconds + 0.02);
      const item = make("li"), image = make("img");
      if (past) { past.item.classList.add("is-recalled"); image.src = past.thumb; }
      image.alt = "";
      item.append(image, make("span", "", share === null ? clock(seconds) : `${clock(seconds)}, read by ${share}%`));
      return item;
    });
    $("recalled").replaceChildren(...pictures);
    $("memory-hint").hidden = pictures.length > 0;
  };
  film.addEventListener("timeupdate", follow);
  setInterval(() => {
    follow();
    start();
    const starved = isStarved();
    if (!isPaused) ask({ type: "played", seconds: film.currentTime, starved });
  }, 200);
})();
