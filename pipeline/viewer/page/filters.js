// What narrows the table down.

import { run } from "./rows.js";
import { change, number, state } from "./state.js";
import { element } from "./words.js";

const find = (id) => document.getElementById(id);
const field = { search: find("search"), levels: find("filter-levels"), status: find("filter-status"), kind: find("filter-kind") };
const range = { metric: find("filter-metric"), min: find("filter-min"), max: find("filter-max") };
const clear = find("filter-clear");
const of = find("metric-shown");

/** Listens to the controls. */
export function listen() {
  field.search.addEventListener("input", () => change({ q: field.search.value }));
  field.levels.addEventListener("click", (event) => {
    const level = event.target.closest("button")?.dataset.level;
    if (!level) return;
    const has = state.levels.includes(level);
    change({ levels: has ? state.levels.filter((other) => other !== level) : [...state.levels, level].sort() });
  });
  field.status.addEventListener("change", () => change({ status: field.status.value }));
  field.kind.addEventListener("change", () => change({ kind: field.kind.value }));
  const ranged = () => {
    const [min, max] = [number(range.min.value), number(range.max.value)];
    const name = range.metric.value;
    range.min.setAttribute("aria-invalid", String(range.min.value.trim() !== "" && min === null));
    range.max.setAttribute("aria-invalid", String(range.max.value.trim() !== "" && max === null));
    change({ metric: name && (min !== null || max !== null) ? { name, min, max } : null });
  };
  for (const input of Object.values(range)) input.addEventListener(input === range.metric ? "change" : "input", ranged);
  of.addEventListener("change", () => change({ of: of.value }));
  clear.addEventListener("click", () => {
    change({ q: "", levels: [], status: "", kind: "", metric: null });
    range.min.value = "";
    range.max.value = "";
    show();
    field.search.focus();
  });
}

/** Offers what the rows have. */
export function offer() {
  const { vertebrae, cases } = run;
  const levels = [...new Set(vertebrae.level)].sort();
  const buttons = levels.map((level) => element("button", { type: "button", "data-level": level }, level));
  field.levels.replaceChildren(...buttons);
  const both = (name) => [...new Set([...vertebrae[name], ...cases[name]])].filter(Boolean).sort();
  options(field.status, "Any status", both("status"));
  options(field.kind, "Any kind", both("kind"));
  const sides = [["recon", "recon."], ["input", "input"], ["delta", "change"]];
  const metrics = sides.flatMap(([side, word]) =>
    run.told.metrics.map(({ name, title }) => [`${side}_${name}`, `${title} ${word}`]),
  );
  options(range.metric, null, metrics);
  options(of, null, run.told.metrics.map(({ name, title, meaning }) => [name, title, meaning]));
  show();
}

/** Shows the state in the controls. */
export function show() {
  const isCases = state.tab === "cases";
  if (document.activeElement !== field.search) field.search.value = state.q;
  for (const button of field.levels.children) {
    button.setAttribute("aria-pressed", String(state.levels.includes(button.dataset.level)));
  }
  field.levels.hidden = isCases || field.levels.children.length === 0;
  range.metric.parentElement.hidden = isCases;
  of.parentElement.hidden = isCases;
  chosen(field.status, state.status);
  chosen(field.kind, state.kind);
  field.kind.hidden = field.kind.options.length < 2 && !state.kind;
  chosen(of, state.of);
  if (state.metric) {
    chosen(range.metric, state.metric.name);
    for (const end of ["min", "max"]) {
      if (document.activeElement !== range[end]) range[end].value = state.metric[end] ?? "";
    }
  }
  const narrowed = state.q || state.status || state.kind || (!isCases && (state.levels.length > 0 || state.metric));
  clear.hidden = !narrowed;
}

function chosen(select, value) {
  // an address may name what no row has any more
  if (![...select.options].some((option) => option.value === value)) select.append(element("option", { value }, value));
  select.value = value;
}

function options(select, any, values) {
  const before = select.value;
  const made = values.map((entry) => {
    const [value, title, meaning] = Array.isArray(entry) ? entry : [entry, entry];
    return element("option", { value, title: meaning }, title);
  });
  if (any) made.unshift(element("option", { value: "" }, any));
  select.replaceChildren(...made);
  if (made.some((option) => option.value === before)) select.value = before;
}
