// The page is complete without this: it sorts a table by the column that is clicked, and unfolds the sources of the figures for print.
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
addEventListener("beforeprint", () => document.querySelectorAll("details:not(.bulk)").forEach((folded) => (folded.open = true)));
