// The pictures of the network: one at a time, zoomed by buttons, Ctrl and wheel or a pinch, moved by dragging, saved as SVG files.
const pictures = [...document.querySelectorAll("figure.graph")];
const enlargeable = (figure) => {
  const map = figure.querySelector(".map");
  const numbers = figure.querySelector(".numbers");
  const [, , fullWidth, fullHeight] = map.getAttribute("viewBox").split(" ").map(Number);
  let [x, y, scale] = [0, 0, 1];
  const draw = () => {
    const [width, height] = [fullWidth / scale, fullHeight / scale];
    x = Math.min(Math.max(x, 0), fullWidth - width);
    y = Math.min(Math.max(y, 0), fullHeight - height);
    map.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
  };
  const zoom = (factor, across = 0.5, down = 0.5) => {
    const next = factor ? Math.min(Math.max(scale * factor, 1), 12) : 1;
    x += across * fullWidth * (1 / scale - 1 / next);
    y += down * fullHeight * (1 / scale - 1 / next);
    scale = next;
    draw();
  };
  for (const button of figure.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => zoom(Number(button.dataset.zoom)));
  const place = (event) => {
    const box = map.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  map.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey) return; // the wheel alone scrolls the page
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 300), ...place(event));
    },
    { passive: false },
  );
  let held = null;
  map.addEventListener("pointerdown", (event) => (held = place(event)));
  addEventListener("pointerup", () => (held = null));
  map.addEventListener("pointermove", (event) => {
    if (!held || scale === 1) return;
    const [across, down] = place(event);
    x -= ((across - held[0]) * fullWidth) / scale;
    y -= ((down - held[1]) * fullHeight) / scale;
    held = [across, down];
    draw();
  });
  for (const node of figure.querySelectorAll(".node")) {
    const said = () => {
      figure.querySelectorAll(".node.chosen").forEach((other) => other.classList.remove("chosen"));
      node.classList.add("chosen");
      const [name, ...facts] = node.querySelector("title").textContent.split("\n");
      const list = document.createElement("dl");
      list.className = "figures";
      for (const fact of facts) {
        const [what, ...text] = fact.split(": ");
        list.append(document.createElement("dt"), document.createElement("dd"));
        [list.children[list.children.length - 2].textContent, list.lastChild.textContent] = [what, text.join(": ")];
      }
      const heading = document.createElement("b");
      heading.textContent = name;
      numbers.replaceChildren(heading, list);
    };
    node.tabIndex = 0;
    node.addEventListener("click", said);
    node.addEventListener("keydown", (event) => event.key === "Enter" && said());
  }
  const save = figure.querySelector("[data-save]");
  save.addEventListener("click", () => {
    const copy = map.cloneNode(true);
    copy.removeAttribute("style");
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("viewBox", `0 0 ${fullWidth} ${fullHeight}`);
    copy.setAttribute("width", fullWidth);
    copy.setAttribute("height", fullHeight);
    copy.setAttribute("color", "#1d1c1a");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" }));
    link.download = save.dataset.save;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  figure.querySelectorAll("[hidden]").forEach((hidden) => (hidden.hidden = false));
};
pictures.forEach(enlargeable);
const pictureSwitch = document.getElementById("picture-switch");
if (pictureSwitch) {
  const buttons = [...pictureSwitch.querySelectorAll("button")];
  const show = (button) => {
    buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    pictures.forEach((figure) => figure.classList.toggle("put-away", figure.id !== `picture-${button.dataset.picture}`));
  };
  buttons.forEach((button) => button.addEventListener("click", () => show(button)));
  pictureSwitch.hidden = buttons.length < 2;
  show(buttons[0]);
}
