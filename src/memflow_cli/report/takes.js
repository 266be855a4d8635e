"use strict";
(() => {
  const films = [...document.querySelectorAll("video")];
  const play = document.getElementById("play"), place = document.getElementById("place"), slow = document.getElementById("slow");
  const start = (film) => Number(film.dataset.start || 0);
  const end = (film) => Number(film.dataset.end || film.duration || 0);
  const long = () => Math.min(...films.filter((film) => film.readyState).map((film) => end(film) - start(film)));
  let isPlaying = true;

  const seek = (seconds) => { for (const film of films) film.currentTime = start(film) + seconds; };
  const show = () => {
    play.textContent = isPlaying ? "Pause" : "Play";
    play.setAttribute("aria-pressed", String(isPlaying));
    for (const film of films) {
      film.playbackRate = slow.checked ? 0.5 : 1;
      if (isPlaying) film.play().catch(() => {}); else film.pause();
    }
  };
  play.addEventListener("click", () => { isPlaying = !isPlaying; show(); });
  slow.addEventListener("change", show);
  place.addEventListener("input", () => { isPlaying = false; show(); seek(Number(place.value) * long()); });
  for (const film of films) film.addEventListener("loadedmetadata", () => { film.currentTime = start(film); show(); });

  /* The first one leads; whoever is a frame or two off is brought back, and all begin again together. */
  const step = () => {
    const leader = films[0], whole = long();
    if (isPlaying && leader && leader.readyState > 1 && Number.isFinite(whole) && whole > 0) {
      const now = leader.currentTime - start(leader);
      if (now >= whole - 0.02 || leader.ended) { seek(0); show(); } else {
        place.value = String(now / whole);
        for (const film of films) if (Math.abs(film.currentTime - start(film) - now) > 0.15) film.currentTime = start(film) + now;
      }
    }
    requestAnimationFrame(step);
  };
  show();
  step();
})();
