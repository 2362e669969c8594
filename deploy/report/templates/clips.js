// Another of the stored clips takes the place of the first; the table of clips shows those that are asked for.
const playerBox = document.getElementById("player");
if (playerBox) {
  const spikesBox = document.getElementById("spikes");
  const choice = document.getElementById("clip-choice");
  const parts = new Map(); // place of a clip -> its player and its rasters, once they have been shown
  const filmStrip = (screen, spikes) => {
    const strip = spikes.querySelector(".strip[data-steps]");
    if (!strip) return;
    const stills = [...screen.querySelectorAll(".still")];
    const at = (step) => stills.findLast((still) => Number(still.dataset.step) <= step);
    strip.replaceChildren(
      ...strip.dataset.steps.split(" ").map((step) => {
        const picture = new Image();
        Object.assign(picture, { src: at(Number(step)).src, alt: `frame ${step}`, title: `frame ${step}` });
        return picture;
      }),
    );
  };
  const taken = (template) => {
    const [screen, spikes] = template.content.children;
    filmStrip(screen, spikes);
    return { screen: [...screen.childNodes], spikes: [...spikes.childNodes] };
  };
  const enlivened = (part) => ({ ...part, player: startPlayer(part.screen.find((node) => node.dataset?.steps)) });
  const first = choice ? choice.options[0].value : "";
  parts.set(first, enlivened({ screen: [...playerBox.childNodes], spikes: [...spikesBox.childNodes] }));
  let now = first;
  const show = (place) => {
    parts.get(now).player.stop();
    const template = document.querySelector(`template[data-clip="${place}"]`);
    const known = parts.get(place);
    const part = known ?? taken(template);
    playerBox.replaceChildren(...part.screen);
    spikesBox.replaceChildren(...part.spikes);
    if (known) known.player.begin();
    else parts.set(place, enlivened(part));
    now = place;
    choice.value = place;
    const source = playerBox.querySelector(".caption .name").textContent;
    document.querySelectorAll('[data-shown="source"]').forEach((named) => (named.textContent = source));
  };
  if (choice) {
    choice.closest("p").hidden = false;
    choice.addEventListener("change", () => show(choice.value));
    for (const button of document.querySelectorAll("[data-show]")) {
      button.hidden = false;
      button.addEventListener("click", () => {
        show(button.dataset.show);
        playerBox.scrollIntoView({ block: "center" });
      });
    }
  }
}

const filter = document.getElementById("clip-filter");
if (filter) {
  const rows = [...document.getElementById("clip-table").tBodies[0].rows];
  const fields = [...filter.querySelectorAll("[data-by]")];
  const value = (by) => fields.find((field) => field.dataset.by === by)?.value ?? "";
  const refresh = () => {
    const [text, ofClass, right] = [value("text").toLowerCase(), value("class"), value("right")];
    const fits = (row) =>
      row.textContent.toLowerCase().includes(text) &&
      (!ofClass || row.dataset.class === ofClass) &&
      (!right || row.dataset.right === right);
    rows.forEach((row) => (row.hidden = !fits(row)));
    filter.querySelector("output").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} shown`;
  };
  fields.forEach((field) => field.addEventListener("input", refresh));
  filter.hidden = rows.length < 2;
  refresh();
}
