"use strict";
// Everything that needs this script is hidden, or plain text, until it runs: without it, the page is still readable.
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Tables: a button in each head sorts, up and down in turn.

  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  // Sorting is stable in every browser, and what has no value comes last both ways.
  function compare(a, b, column, direction) {
    const [left, right] = [a.cells[column], b.cells[column]];
    if (left.dataset.value === undefined || right.dataset.value === undefined) {
      return direction * collator.compare(left.textContent.trim(), right.textContent.trim());
    }
    if (left.dataset.value === "" || right.dataset.value === "") {
      return (left.dataset.value === "") - (right.dataset.value === "");
    }
    const [x, y] = [Number(left.dataset.value), Number(right.dataset.value)];
    return direction * (x < y ? -1 : x > y ? 1 : 0);
  }

  function sort(table, head) {
    const descending = head.getAttribute("aria-sort") === "ascending";
    all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort((a, b) => compare(a, b, head.cellIndex, descending ? -1 : 1)));
  }

  for (const table of all("table[data-sortable]")) {
    for (const head of all("thead th", table)) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, head));
    }
  }

  // Filters: one at the beginning of a section, for the rows and figures in it.

  const counted = (shown, of, what) => (of ? `${shown} of ${of} ${what}` : "");

  function filter(section) {
    const bar = section.querySelector(".filter");
    const [search, differing] = [bar.querySelector("[type=search]"), bar.querySelector("[type=checkbox]")];
    const rows = all("tbody tr", section);
    const figures = all("figure", section);
    // Names only: who looks for HT does not want every row that says "right".
    const words = new Map([
      ...rows.map((row) => [row, row.cells[0].textContent.toLowerCase()]),
      ...figures.map((figure) => [figure, figure.dataset.words.toLowerCase()]),
    ]);
    bar.querySelector(".differing").hidden = ![...words.keys()].some((e) => e.dataset.status);

    const update = () => {
      const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const [element, text] of words) {
        const status = element.dataset.status;
        element.hidden =
          !wanted.every((word) => text.includes(word)) || (differing.checked && Boolean(status) && status !== "differs");
      }
      for (const group of all(".table, .gallery", section)) {
        const entries = all("tbody tr, figure", group);
        const empty = entries.length > 0 && entries.every((entry) => entry.hidden);
        group.querySelector(".nothing").hidden = !empty;
        group.classList.toggle("empty", empty);
      }
      const seen = (elements) => elements.filter((element) => !element.hidden).length;
      const active = wanted.length > 0 || differing.checked;
      bar.querySelector("output").textContent = active
        ? [counted(seen(rows), rows.length, "rows"), counted(seen(figures), figures.length, "figures")]
            .filter(Boolean)
            .join(", ")
        : "";
    };
    search.addEventListener("input", update);
    differing.addEventListener("change", update);
    // A browser that goes back to the page may have kept what was typed.
    update();
    bar.hidden = false;
  }

  all("[data-filterable]").forEach(filter);

  // Figures open large, one after the other.

  const viewer = document.getElementById("viewer");
  const part = (selector) => viewer.querySelector(selector);
  let current = null;

  const visible = () => all("main figure").filter((figure) => figure.checkVisibility());

  function show(figure) {
    current = figure;
    const figures = visible();
    const original = figure.querySelector("img");
    const image = new Image(original.width, original.height);
    image.src = original.src;
    image.alt = original.alt;
    part("h2").textContent = figure.querySelector(".title").textContent;
    part(".status").replaceChildren(...all(".head .badge", figure).map((badge) => badge.cloneNode(true)));
    part(".count").textContent = `${figures.indexOf(figure) + 1} of ${figures.length}`;
    part(".picture").replaceChildren(image);
    part(".caption").textContent = figure.querySelector("figcaption")?.textContent ?? "";
    part(".download").href = original.src;
    part(".download").download = figure.dataset.file;
    part(".download").textContent = `Download ${figure.dataset.file.split(".").pop().toUpperCase()}`;
  }

  function step(by) {
    const figures = visible();
    show(figures[(figures.indexOf(current) + by + figures.length) % figures.length]);
  }

  for (const figure of all("main figure")) {
    const button = figure.querySelector(".enlarge");
    const open = () => {
      show(figure);
      viewer.showModal();
      part(".close").focus();
    };
    button.hidden = false;
    button.addEventListener("click", open);
    figure.querySelector("img").addEventListener("click", open);
    figure.classList.add("opens");
  }
  part(".previous").addEventListener("click", () => step(-1));
  part(".next").addEventListener("click", () => step(1));
  part(".close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());
  viewer.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1 };
    if (event.key in steps && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      step(steps[event.key]);
    }
  });
  // The reader goes on where the last figure stands, which may be another than the one that was opened.
  viewer.addEventListener("close", () => current?.querySelector(".enlarge").focus());

  // The table of contents shows where the reader is.

  const links = new Map(all(".contents a[href^='#']").map((link) => [link.getAttribute("href").slice(1), link]));
  const sections = all("main section").filter((section) => links.has(section.id));

  function mark() {
    const line = innerHeight / 3;
    const passed = sections.filter((section) => section.getBoundingClientRect().top <= line);
    // The last section may be too short to come up to that line.
    const ended = scrollY > 0 && innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
    const here = links.get((ended ? sections : passed).at(-1)?.id);
    for (const link of links.values()) {
      if (link === here) {
        link.setAttribute("aria-current", "location");
      } else {
        link.removeAttribute("aria-current");
      }
    }
  }

  let waiting = false;
  addEventListener(
    "scroll",
    () => {
      if (!waiting) {
        waiting = true;
        requestAnimationFrame(() => {
          waiting = false;
          mark();
        });
      }
    },
    { passive: true },
  );
  mark();
})();
