// The ledger by layer and cause: any cost model in either column, and causes taken out by a click on the legend.
const store = document.getElementById("ledger-data");
const table = document.getElementById("ledger");
if (store && table) {
  const { causes, colours, models } = JSON.parse(store.textContent);
  const controls = document.getElementById("ledger-controls");
  const legend = [...document.querySelectorAll("#ledger-legend span")];
  const rows = [...table.tBodies[0].rows];
  const heads = [...table.tHead.rows[0].cells].filter((cell) => cell.classList.contains("chart"));
  const chosen = heads.map((head) => Math.max(models.findIndex((model) => model.title === head.textContent), 0));
  const out = new Set();
  const units = [["J", 1e-3], ["mJ", 1], ["µJ", 1e3], ["nJ", 1e6], ["pJ", 1e9]];

  const energy = (mj) => {
    if (!mj) return "0";
    const [unit, factor] = units.find(([, factor]) => mj * factor >= 0.9995) ?? units.at(-1);
    const value = mj * factor;
    return `${value >= 99.95 ? Math.round(value) : value.toPrecision(3)}\u202f${unit}`;
  };
  const svg = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const sum = (parts) => parts.reduce((total, mj, i) => (out.has(i) ? total : total + mj), 0);
  const bar = (parts, most, model) => {
    const drawn = svg("svg", { class: "bar", "aria-hidden": "true" });
    let start = 0;
    parts.forEach((mj, i) => {
      if (out.has(i) || !mj) return;
      const width = (100 * mj) / most;
      const colour = `c${colours[i]}${model.stand_in[i] ? " stand-in" : ""}`;
      const part = svg("rect", { x: `${start}%`, width: `${width}%`, height: "100%", class: colour });
      part.append(svg("title", {}));
      part.firstChild.textContent = `${causes[i]}: ${energy(mj)}`;
      drawn.append(part);
      start += width;
    });
    return drawn;
  };
  const draw = () =>
    chosen.forEach((which, column) => {
      const model = models[which];
      const totals = model.parts.map(sum);
      const most = Math.max(...totals, 1e-30);
      heads[column].textContent = model.title;
      for (const row of rows) {
        const [chart, number] = [row.cells[1 + 2 * column], row.cells[2 + 2 * column]];
        chart.replaceChildren(bar(model.parts[row.dataset.layer], most, model));
        number.textContent = energy(totals[row.dataset.layer]);
        chart.dataset.value = number.dataset.value = totals[row.dataset.layer];
      }
      table.tFoot.rows[0].cells[2 + 2 * column].textContent = energy(totals.reduce((a, b) => a + b, 0));
    });

  chosen.forEach((which, column) => {
    const select = document.createElement("select");
    select.setAttribute("aria-label", `cost model of column ${column + 1}`);
    models.forEach((model, i) => select.add(new Option(model.title, i, false, i === which)));
    select.addEventListener("change", () => {
      chosen[column] = Number(select.value);
      draw();
    });
    controls.append(select);
  });
  legend.forEach((entry, i) => {
    entry.tabIndex = 0;
    entry.setAttribute("role", "button");
    entry.setAttribute("aria-pressed", "true");
    const toggle = () => {
      if (!out.delete(i)) out.add(i);
      entry.setAttribute("aria-pressed", String(!out.has(i)));
      draw();
    };
    entry.addEventListener("click", toggle);
    entry.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        toggle();
      }
    });
  });
  controls.hidden = false;
}
