// A player is complete without this, at its first frame: it moves frames, cursor and results through the time steps.
const startPlayer = (player) => {
  const steps = Number(player.dataset.steps);
  const msPerStep = Math.min(200, 12800 / steps); // a clip of many time steps plays in 12.8 s
  const all = (selector) => [...player.querySelectorAll(selector)];
  const stills = all(".still");
  const results = all("[data-results]").map((line) => [line.querySelector("b"), line.dataset.results.split(" ").map(Number)]);
  const slider = player.querySelector("input");
  const playButton = player.querySelector('[data-do="play"]');
  let at = 0; // time steps from the beginning, whole or not
  let speed = 1;
  let before = null; // time of the last picture; null: it stands still
  const draw = () => {
    const step = Math.floor(at) + 1;
    const last = stills.findLast((still) => Number(still.dataset.step) <= step);
    stills.forEach((still) => (still.hidden = still !== last));
    player.style.setProperty("--at", `${(100 * (step - 0.5)) / steps}%`);
    results.forEach(([shown, values]) => (shown.textContent = String(Number(values[step - 1].toPrecision(3)))));
    slider.value = step;
    slider.setAttribute("aria-valuetext", `time step ${step} of ${steps}`);
    player.querySelector(".now").textContent = `Shown: time step ${step}.`;
  };
  const tick = (now) => {
    if (before === null) return;
    at = (at + (speed * Math.max(0, now - before)) / msPerStep) % steps; // a picture's time may lie before the click
    before = now;
    draw();
    requestAnimationFrame(tick);
  };
  const play = (on) => {
    if (on === (before !== null)) return;
    before = on ? performance.now() : null;
    playButton.textContent = on ? "Pause" : "Play";
    if (on) requestAnimationFrame(tick);
  };
  const stand = (step) => {
    play(false);
    at = (step + steps) % steps;
    draw();
  };
  playButton.addEventListener("click", () => play(before === null));
  player.querySelector('[data-do="back"]').addEventListener("click", () => stand(Math.floor(at) - 1));
  player.querySelector('[data-do="forward"]').addEventListener("click", () => stand(Math.floor(at) + 1));
  slider.addEventListener("input", () => stand(Number(slider.value) - 1));
  const speeds = all("[data-speed]");
  for (const button of speeds)
    button.addEventListener("click", () => {
      speed = Number(button.dataset.speed);
      speeds.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    });
  for (const track of all(".track"))
    track.addEventListener("click", (event) => {
      const box = track.getBoundingClientRect();
      stand(Math.min(steps - 1, Math.max(0, Math.floor((steps * (event.clientX - box.left)) / box.width))));
    });
  addEventListener("beforeprint", () => stand(steps - 1)); // paper shows the results of the whole clip
  all("[hidden]:not(.still)").forEach((hidden) => (hidden.hidden = false));
  draw();
  const begin = () => play(steps > 1 && !matchMedia("(prefers-reduced-motion: reduce)").matches);
  begin();
  return { begin, stop: () => play(false) };
};
