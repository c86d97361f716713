// The table: only the rows in view are elements, so that thousands scroll as a few do.

import { run, value } from "./rows.js";
import { change, state } from "./state.js";
import { NONE, count, decimals, duration, element, fixed, signed, spoken, volume } from "./words.js";

const ROW = 28;
const BEYOND = 8;

const text = (found) => found ?? NONE;

/** Columns of the vertebrae; three of them are of the metric that is chosen. `width` is the least one in px, `grow` the share
 *  of what is left over. */
function vertebraColumns() {
  const { of } = state;
  const more = of === "hd95_mm" ? "dsc" : "hd95_mm";
  const title = (name) => run.told?.metrics.find((metric) => metric.name === name)?.title ?? name;
  const metric = (name) => (found) => fixed(found, decimals(name));
  const change = (found) => signed(found, decimals(of));
  return [
    { name: "case_id", title: "Case", width: 128, grow: 2, show: text },
    { name: "level", title: "Level", width: 50, show: text },
    { name: "status", title: "Status", width: 72, show: text, kind: "status" },
    { name: `input_${of}`, title: `${title(of)} input`, width: 84, show: metric(of), kind: "number" },
    { name: `recon_${of}`, title: `${title(of)} recon.`, width: 92, show: metric(of), kind: "number" },
    { name: `delta_${of}`, title: "Change", width: 84, show: change, kind: "change" },
    { name: `recon_${more}`, title: `${title(more)} recon.`, width: 100, show: metric(more), kind: "number" },
    { name: "recon_mm3", title: "Volume", width: 78, show: volume, kind: "number" },
    { name: "reason", title: "Notes", width: 220, grow: 3, show: text, kind: "notes" },
  ];
}

const CASE_COLUMNS = [
  { name: "case_id", title: "Case", width: 128, grow: 1, show: text },
  { name: "status", title: "Status", width: 76, show: text, kind: "status" },
  { name: "vertebrae", title: "Vertebrae", width: 80, show: text, kind: "number" },
  { name: "duration_ms", title: "Time", width: 68, show: duration, kind: "number" },
  { name: "stage", title: "Stage", width: 88, show: text },
  { name: "kind", title: "Kind", width: 96, show: text },
  { name: "reason", title: "Reason", width: 150, grow: 1, show: (found) => (found ? spoken(found) : NONE) },
  { name: "message", title: "Message", width: 320, grow: 4, show: text },
];

export class Table {
  constructor(root, open) {
    this.root = root;
    this.open = open;
    this.head = root.querySelector(".head > [role=row]");
    this.body = root.querySelector(".body");
    this.none = root.querySelector(".none");
    this.rows = [];
    /** The row that keys move from, by its place in the table and by its names. */
    this.at = -1;
    this.names = null;
    root.addEventListener("scroll", () => this.#later());
    new ResizeObserver(() => {
      this.#widths();
      this.#later();
    }).observe(root);
    root.addEventListener("keydown", (event) => this.#key(event));
    this.head.addEventListener("click", (event) => this.#sort(event.target.closest("[data-column]")));
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.#choose(Number(row.dataset.index));
    });
  }

  get columns() {
    return state.tab === "cases" ? CASE_COLUMNS : vertebraColumns();
  }

  /** Shows these rows, numbers of rows of the tab's table. */
  show(rows, { toTop }) {
    this.rows = rows;
    this.#widths();
    this.root.setAttribute("aria-rowcount", rows.length + 1);
    this.root.setAttribute("aria-label", state.tab === "cases" ? "Cases" : "Vertebrae");
    this.body.style.height = `${rows.length * ROW}px`;
    this.none.hidden = rows.length > 0;
    const all = run[state.tab]?.case_id.length ?? 0;
    this.none.textContent = all > 0 ? "No row passes the filters." : `The run has no ${state.tab} yet.`;
    if (toTop) this.root.scrollTop = 0;
    this.#heads();
    const table = run[state.tab];
    this.at = table && this.names ? rows.findIndex((row) => isNamed(table, row, this.names)) : -1;
    this.#draw();
  }

  /** Goes to the row that is looked at. */
  follow() {
    const table = run[state.tab];
    this.names = { case: state.case, level: state.level };
    this.at = table ? this.rows.findIndex((row) => isNamed(table, row, this.names)) : -1;
    if (this.at >= 0) this.#intoView(this.at);
    this.#draw();
  }

  /** Opens the row before or after. */
  step(by) {
    if (this.rows.length === 0) return;
    const from = this.at < 0 ? (by > 0 ? -1 : 0) : this.at;
    this.#choose(Math.min(this.rows.length - 1, Math.max(0, from + by)));
  }

  #choose(index) {
    const row = this.rows[index];
    if (row === undefined) return;
    this.#goTo(index);
    this.open(row);
  }

  #goTo(index) {
    const table = run[state.tab];
    const row = this.rows[index];
    if (row === undefined) return;
    this.at = index;
    this.names = { case: table.case_id[row], level: table.level?.[row] };
    this.#intoView(index);
    this.#draw();
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.root.clientHeight / ROW) - 2);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.target !== this.root || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in moves) {
      event.preventDefault();
      const last = this.rows.length - 1;
      this.#goTo(Math.min(last, Math.max(0, this.at + moves[event.key])));
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.#choose(this.at);
    }
  }

  #sort(head) {
    if (!head) return;
    const column = head.dataset.column;
    const { sort } = state;
    change({ sort: { column, down: sort.column === column ? !sort.down : false } });
  }

  #heads() {
    const cells = this.columns.map(({ name, title, kind }) => {
      const isSorted = state.sort.column === name;
      const way = isSorted ? (state.sort.down ? "descending" : "ascending") : "none";
      const button = element("button", { type: "button", tabindex: -1 }, title);
      return element("div", { role: "columnheader", "data-column": name, "aria-sort": way, class: kind, title: `Sort by ${title}` }, button);
    });
    this.head.replaceChildren(...cells);
  }

  /** Gives columns what they need, and shares out what is left of the width. */
  #widths() {
    const columns = this.columns;
    const least = columns.reduce((sum, { width }) => sum + width, 0);
    const shares = columns.reduce((sum, { grow }) => sum + (grow ?? 0), 0);
    const left = Math.max(0, this.root.clientWidth - least);
    const widths = columns.map(({ width, grow }) => width + Math.floor((left * (grow ?? 0)) / shares));
    this.root.style.setProperty("--columns", widths.map((width) => `${width}px`).join(" "));
    this.root.style.setProperty("--width", `${Math.max(least, this.root.clientWidth)}px`);
  }

  #intoView(index) {
    const head = this.head.offsetHeight;
    const [top, height] = [index * ROW, this.root.clientHeight - head];
    if (top < this.root.scrollTop) this.root.scrollTop = top;
    else if (top + ROW > this.root.scrollTop + height) this.root.scrollTop = top + ROW - height;
  }

  #later() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.#draw();
    });
  }

  #draw() {
    const table = run[state.tab];
    if (!table) return;
    const first = Math.max(0, Math.floor(this.root.scrollTop / ROW) - BEYOND);
    const last = Math.min(this.rows.length, Math.ceil((this.root.scrollTop + this.root.clientHeight) / ROW) + BEYOND);
    const drawn = [];
    for (let index = first; index < last; index++) drawn.push(this.#row(table, index));
    this.body.replaceChildren(...drawn);
    const active = this.at >= first && this.at < last;
    if (active) this.root.setAttribute("aria-activedescendant", `row-${this.at}`);
    else this.root.removeAttribute("aria-activedescendant");
  }

  #row(table, index) {
    const row = this.rows[index];
    const cells = this.columns.map((column) => cell(table, column, row));
    const made = element(
      "div",
      {
        role: "row",
        id: `row-${index}`,
        class: "row",
        "aria-rowindex": index + 2,
        "aria-selected": String(index === this.at),
        "aria-current": isNamed(table, row, state) && "true",
        "data-index": index,
        "data-case": table.case_id[row],
        "data-level": table.level?.[row],
      },
      ...cells,
    );
    made.style.transform = `translateY(${index * ROW}px)`;
    return made;
  }
}

function isNamed(table, row, names) {
  return table.case_id[row] === names.case && (!table.level || table.level[row] === names.level);
}

function cell(table, { name, show, kind }, row) {
  const found = value(table, name, row);
  let content = show(found);
  const attributes = { role: "gridcell", "data-column": name, class: kind };
  if (kind === "status") attributes.class = `status ${found}`;
  if (kind === "notes") content = notes(table, row);
  if (kind === "change") attributes.class = `change ${judged(name, found)}`;
  if (kind !== "number" && content.length > 12) attributes.title = content;
  return element("div", attributes, content);
}

function notes(table, row) {
  const failed = [table.kind[row], table.reason[row]].filter(Boolean).map(spoken);
  return [failed.join(": "), ...(table.flags[row] ?? []).map(spoken)].filter(Boolean).join(", ");
}

/** Tells whether a change is for the better, by the metric that it is of. */
export function judged(name, found) {
  if (found === null || found === undefined || found === 0) return "";
  const metric = run.told?.metrics.find((metric) => name.endsWith(metric.name));
  return found > 0 === (metric?.better !== "lower") ? "better" : "worse";
}

export function shownText(shown, all) {
  return shown === all ? count(all) : `${count(shown)} of ${count(all)}`;
}
