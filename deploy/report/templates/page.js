// The page is complete without this: it sorts a table by the column that is clicked, unfolds what a link leads to, and
// unfolds everything but long tables for print.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const original = [...table.tBodies[0].rows];
  const key = (row, column) => {
    const cell = row.cells[column];
    const text = (cell.dataset.value ?? cell.textContent).replaceAll(",", "").trim();
    return /^[<>]?\s*-?\d/.test(text) ? parseFloat(text.replace(/^[<>]\s*/, "")) : text;
  };
  const compare = (x, y) => (typeof x === typeof y ? (x < y ? -1 : x > y ? 1 : 0) : typeof x === "number" ? 1 : -1);
  heads.forEach((head, column) => {
    head.addEventListener("click", () => {
      const next = { null: "descending", descending: "ascending", ascending: null }[head.getAttribute("aria-sort")];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next) head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const rows = next ? [...original].sort((a, b) => sign * compare(key(a, column), key(b, column))) : original;
      table.tBodies[0].append(...rows);
    });
  });
}
const unfold = () => {
  const found = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const folded = found && found.querySelector("details.fold");
  if (!folded || folded.open) return;
  folded.open = true;
  found.scrollIntoView();
};
addEventListener("hashchange", unfold);
for (const link of document.querySelectorAll('a[href^="#"]')) link.addEventListener("click", () => setTimeout(unfold));
unfold();
let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details:not(.bulk):not([open])")];
  unfolded.forEach((folded) => (folded.open = true));
});
addEventListener("afterprint", () => unfolded.forEach((folded) => (folded.open = false)));
