// The page reads without this: it sorts tables, opens what is folded before printing, and hides hints that are not due.
"use strict";
(() => {
  const number = (text) => {
    const found = text.replace(/[,\u00a0 ]/g, "").replace("\u2212", "-").match(/^[<>]?([+-]?\d+(\.\d+)?)/);
    return found ? Number(found[1]) : null;
  };
  const valueOf = (row, column) => {
    const cell = row.cells[column].cloneNode(true);
    cell.querySelectorAll("small, [aria-hidden]").forEach((part) => part.remove());
    return cell.textContent.trim();
  };
  const compare = (first, second, sign) => {
    const isNone = [first, second].map((text) => text === "\u2013" || text === "");
    if (isNone[0] || isNone[1]) return isNone[0] - isNone[1];
    const [one, other] = [number(first), number(second)];
    return sign * (one !== null && other !== null ? one - other : first.localeCompare(second));
  };
  document.querySelectorAll("table.sortable").forEach((table) => {
    const body = table.tBodies[0], original = [...body.rows];
    if (original.length < 2) return;
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        // Numbers first from large to small, then back, then as it was; words the other way round.
        const isNumber = original.some((row) => number(valueOf(row, column)) !== null) && !head.matches(".word");
        const steps = isNumber ? ["descending", "ascending", "none"] : ["ascending", "descending", "none"];
        const next = steps[(steps.indexOf(head.getAttribute("aria-sort") || "none") + 1) % 3];
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (next !== "none") head.setAttribute("aria-sort", next);
        const sign = next === "ascending" ? 1 : -1;
        const rows = next === "none" ? original : [...original].sort(
          (one, other) => compare(valueOf(one, column), valueOf(other, column), sign));
        body.append(...rows);
      });
    });
  });
  const hints = () => document.querySelectorAll(".scroll").forEach((box) => {
    const hint = box.previousElementSibling;
    if (!hint || !hint.matches(".hint")) return;
    hint.hidden = box.scrollWidth <= box.clientWidth + 1;
    hint.classList.toggle("due", !hint.hidden);
  });
  hints();
  addEventListener("resize", hints);
  document.querySelectorAll("details").forEach((part) => part.addEventListener("toggle", hints));
  const menu = document.querySelector("details.menu");
  menu.addEventListener("click", (event) => { if (event.target.closest("a")) menu.open = false; });
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open])")];
    opened.forEach((part) => { part.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((part) => { part.open = false; }));
})();
