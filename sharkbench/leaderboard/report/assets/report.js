"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Tables: a click on a heading sorts by it, a second one the other way; empty cells stay last.
  const valueOf = (cell) => {
    const text = cell.dataset.v ?? cell.textContent.trim();
    if (text === "") return null;
    return Number.isNaN(Number(text)) ? text : Number(text);
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number") return -1;
    if (typeof b === "number") return 1;
    return a.localeCompare(b, "en", { numeric: true });
  };
  for (const table of all("table.sortable")) {
    const headings = all("thead th", table);
    headings.forEach((heading, index) => {
      const button = heading.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
        const rows = all("tbody tr", table).map((row) => [valueOf(row.cells[index]), row]);
        rows.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : sign * compare(a, b)));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  }

  // The leaderboard's filters.
  const board = document.getElementById("leaderboard-table");
  const search = document.getElementById("search");
  const filters = all("#filters select");
  // A drawn column is one more cell of the row than there are headings with a name.
  const columns = all("thead th", board).filter((heading) => !("drawn" in heading.dataset)).map((heading) => heading.cellIndex);
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of board.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      const kept =
        words.every((word) => text.includes(word)) &&
        filters.every((f) => f.value === "*" || "=" + row.cells[columns[f.dataset.column]].textContent === f.value);
      row.hidden = !kept;
      shown += kept;
    }
    document.getElementById("count").textContent = `${shown} of ${board.tBodies[0].rows.length} rows`;
  };
  search.addEventListener("input", filter);
  filters.forEach((element) => element.addEventListener("change", filter));
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
  filter();

  // Copying takes the rows that are shown, in their order.
  const escapes = {
    csv: (text) => {
      const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? "'" + text : text;
      return /[",\n\r]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
    },
    markdown: (text) => text.replace(/[\\`*_{}\[\]<>|#~]/g, "\\$&").replace(/\s+/g, " "),
    latex: (text) =>
      text.replace(/[\\{}$&#^_~%±×]/g, (c) => ({
        "\\": "\\textbackslash{}", "^": "\\textasciicircum{}", "~": "\\textasciitilde{}", "±": "$\\pm$", "×": "$\\times$",
      })[c] ?? "\\" + c),
  };
  const forms = {
    csv: (rows) => rows.map((row) => row.join(",")).join("\n") + "\n",
    markdown: ([head, ...rows]) =>
      [head, head.map(() => "---"), ...rows].map((row) => "| " + row.join(" | ") + " |").join("\n") + "\n",
    latex: ([head, ...rows]) =>
      `\\begin{tabular}{${"l".repeat(head.length)}}\n\\toprule\n${head.join(" & ")} \\\\\n\\midrule\n` +
      rows.map((row) => row.join(" & ") + " \\\\\n").join("") + "\\bottomrule\n\\end{tabular}\n",
  };
  const tableText = (table, form) => {
    const shown = [...table.tHead.rows, ...table.tBodies[0].rows].filter((row) => !row.hidden);
    return forms[form](
      shown.map((row) =>
        [...row.cells].filter((cell) => !("drawn" in cell.dataset)).map((cell) => {
          // Files get the full number, papers what is seen.
          const text = (form === "csv" && cell.dataset.v) || cell.textContent.trim();
          return escapes[form](text);
        })
      )
    );
  };
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  for (const tools of all(".copy")) {
    tools.addEventListener("click", async (event) => {
      const form = event.target.dataset.form;
      if (!form) return;
      await copy(tableText(document.getElementById(tools.dataset.table), form));
      tools.querySelector("[role=status]").textContent = "copied";
    });
  }

  // Plots. "bars": the row of each record of a bar chart, which grows with them.
  const draw = (id, spec, datasets, empty, bars) => {
    const place = document.getElementById(id);
    if (empty) {
      place.textContent = "Nothing measured yet.";
      return;
    }
    const options = {
      ast: true, // expressions are interpreted: the page's policy allows no evaluation of text
      renderer: "svg",
      logLevel: 1, // errors only: that a layer is empty, because nothing failed, is no reason to warn
      actions: { export: true, source: false, compiled: false, editor: false },
    };
    const height = bars ? 18 * new Set(bars).size : spec.height;
    vegaEmbed(place, { ...spec, datasets, height }, options).catch((error) => {
      place.textContent = "This plot cannot be drawn: " + error.message;
      console.error(error);
    });
  };
  const drawSection = (index) => {
    const { cells, full, place, task } = data.sections[index];
    const { records: places, fields, chart } = data.places[place];
    const { quality_bytes, quality_lookups, training_time, training_memory } = data.charts[task];
    const judged = cells.filter((cell) => cell.value !== null);
    draw("quality_bytes", quality_bytes, { cells, full }, !judged.length);
    draw("quality_lookups", quality_lookups, { cells, full }, !judged.some((cell) => cell.lookups !== null));
    const bars = places.map((place) => place.row);
    const parts = places.flatMap(({ row, formats, bytes }) =>
      bytes.map((nbytes, order) => ({ row, formats, field: fields[order], bytes: nbytes, order }))
    );
    draw("bytes_by_field", chart, { places: parts }, !parts.length, bars);
    draw("training_time", training_time, { places }, !places.some((place) => place.seconds), bars);
    draw("training_memory", training_memory, { places }, !places.some((place) => place.peak), bars);
  };
  const drawn = new Set();
  const drawNotes = (page) => {
    for (const [id, { task, charts, rows }] of Object.entries(data.notes)) {
      if (!id.startsWith(page.id + "-note-") || drawn.has(id)) continue;
      drawn.add(id);
      for (const chart of charts) {
        draw(`${id}-${chart}`, data.charts[task][chart], { rows }, false, !chart.startsWith("path") && rows.map((row) => row.field));
      }
    }
  };
  const section = document.getElementById("section");
  if (section) {
    section.addEventListener("change", () => drawSection(section.value));
    drawSection(section.value);
  }

  // The runs of a method are many: their table is filled when it is opened.
  for (const details of all("details.runs")) {
    details.addEventListener("toggle", () => {
      const body = details.querySelector("tbody");
      if (body.rows.length) return;
      for (const run of data.runs[details.closest(".page").id]) {
        const row = body.insertRow();
        for (const value of run) {
          const cell = row.insertCell();
          cell.textContent = value ?? "";
          if (typeof value === "number") cell.className = "n";
        }
      }
    });
  }

  // One page at a time: the overview, or the method that the address names.
  const pages = all(".page");
  const turn = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const page = target?.closest(".page") ?? pages[0];
    pages.forEach((other) => other.classList.toggle("current", other === page));
    drawNotes(page);
    (target ?? document.body).scrollIntoView();
  };
  document.documentElement.classList.add("paged");
  window.addEventListener("hashchange", turn);
  turn();
})();
