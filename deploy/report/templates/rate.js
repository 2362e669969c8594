// The chips at any rate of frames: a clip lasts as long as its frames take to come, or as the chip needs for them.
const rateStore = document.getElementById("rate-data");
if (rateStore) {
  const { colours, chips } = JSON.parse(rateStore.textContent);
  const rows = [...document.getElementById("rate-bars").tBodies[0].rows];
  const controls = document.getElementById("rate-controls");
  const units = [["J", 1e-3], ["mJ", 1], ["µJ", 1e3], ["nJ", 1e6]];
  const energy = (mj) => {
    const [unit, factor] = units.find(([, factor]) => mj * factor >= 0.9995) ?? units.at(-1);
    return `${(mj * factor).toPrecision(3)}\u202f${unit}`;
  };
  const atRate = (chip, fps) => ({
    dynamic: chip.dynamic,
    traffic: chip.traffic,
    static: chip.mw * chip.steps * Math.max(chip.every / fps, chip.step),
  });
  const draw = (fps) =>
    chips.forEach((chip, i) => {
      const parts = atRate(chip, fps);
      const total = parts.dynamic + parts.traffic + parts.static;
      let start = 0;
      const bar = rows[i].cells[1].firstElementChild;
      bar.replaceChildren(
        ...Object.entries(parts).map(([name, mj]) => {
          const part = document.createElementNS("http://www.w3.org/2000/svg", "rect");
          const width = (100 * mj) / total;
          part.setAttribute("x", `${start}%`);
          part.setAttribute("width", `${width}%`);
          part.setAttribute("height", "100%");
          part.setAttribute("class", `c${colours[name]}`);
          part.append(document.createElementNS("http://www.w3.org/2000/svg", "title"));
          part.firstChild.textContent = `${name}: ${energy(mj)}`;
          start += width;
          return part;
        }),
      );
      rows[i].cells[2].textContent = energy(total);
    });
  const slider = document.createElement("input");
  const label = document.createElement("label");
  const text = document.createElement("span");
  const now = Math.log10(chips[0].fps);
  Object.assign(slider, { type: "range", min: Math.min(0, now - 1), max: Math.max(4, now + 1), step: 0.01 });
  slider.value = now;
  const moved = () => {
    const fps = Number((10 ** Number(slider.value)).toPrecision(2));
    text.textContent = ` ${fps} frames a second`;
    draw(fps);
  };
  slider.addEventListener("input", moved);
  label.append("Rate of the frames: ", slider, text);
  controls.append(label);
  text.textContent = ` ${chips[0].fps} frames a second`;
  controls.hidden = false;
}
