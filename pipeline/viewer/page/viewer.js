// The page of a run: asks how it stands, and puts table, picture and numbers together.

import * as facts from "./facts.js";
import * as filters from "./filters.js";
import { cutOpen, layers, opacity, picture, seeThrough, startScene } from "./picture.js";
import { chosen, levelsOf, refresh, rowOf, run } from "./rows.js";
import { LAYERS, LAYOUTS, change, onChange, readAddress, state } from "./state.js";
import { Table, shownText } from "./table.js";
import { COLOURS, count, counted, css, element } from "./words.js";

const find = (id) => document.getElementById(id);
const page = document.body.dataset;

/** Time between two looks at how the run stands, in ms. */
const LOOK_EVERY = 2000;

const table = new Table(find("table"), open);

// ---- rows ----

function open(row) {
  const rows = run[state.tab];
  const caseId = rows.case_id[row];
  if (state.tab === "vertebrae") return change({ case: caseId, level: rows.level[row] });
  const levels = levelsOf(caseId);
  change({ case: caseId, level: levels.includes(state.level) ? state.level : "", spine: state.spine || "recon" });
}

function list({ toTop }) {
  const rows = chosen(state.tab);
  table.show(rows, { toTop });
  const all = run[state.tab]?.case_id.length ?? 0;
  const noun = all === 1 ? { vertebrae: "vertebra", cases: "case" }[state.tab] : state.tab;
  find("shown").textContent = `${shownText(rows.length, all)} ${noun}`;
  page.rows = run.vertebrae?.case_id.length ?? 0;
  page.shown = rows.length;
  page.stamp = run.stamp;
}

function tabs() {
  for (const tab of ["vertebrae", "cases"]) {
    const button = find(`tab-${tab}`);
    button.setAttribute("aria-selected", String(state.tab === tab));
    button.tabIndex = state.tab === tab ? 0 : -1;
    button.querySelector("b").textContent = count(run[tab]?.case_id.length ?? 0);
  }
}

// ---- the run as a whole ----

const STATES = { ended: "ended", running: "in progress", unfinished: "unfinished", empty: "empty" };

function head() {
  const { told } = run;
  const { counts, model } = told;
  document.title = `${told.run} · spinestream`;
  find("run-id").textContent = told.run;
  const chip = find("run-state");
  if (chip.textContent !== STATES[told.state]) chip.textContent = STATES[told.state] ?? told.state;
  chip.dataset.state = told.state;
  const cases = counts.expected > counts.cases ? `${count(counts.cases)} of ${counted(counts.expected, "case")}` : counted(counts.cases, "case");
  const failed = counts.failed > 0 ? `, ${count(counts.failed)} failed` : "";
  const broken = counts.vertebrae_failed > 0 ? `, ${count(counts.vertebrae_failed)} failed` : "";
  const vertebrae = `${count(counts.vertebrae)} ${counts.vertebrae === 1 ? "vertebra" : "vertebrae"}`;
  find("counts").textContent = `${cases}${failed} · ${vertebrae}${broken}`;
  find("model").textContent = model ? [(model.chain ?? []).join(" → "), model.model_version].filter(Boolean).join(" ") : "";
  banners(told.warnings);
}

/** Shows warnings; one that says the same as before is left alone, so that it is read out once. */
function banners(warnings) {
  const root = find("banners");
  const text = JSON.stringify(warnings);
  if (root.dataset.told === text) return;
  root.dataset.told = text;
  const loud = new Set(["unreachable", "damaged", "half_failed", "newer"]);
  const made = warnings.map(({ code, text }) => {
    const icon = element("i", { "aria-hidden": "true" }, loud.has(code) ? "!" : "i");
    return element("p", { class: loud.has(code) ? "banner loud" : "banner", "data-code": code }, icon, element("span", {}, text));
  });
  root.replaceChildren(...made);
}

async function look() {
  try {
    const isNew = await refresh();
    head();
    if (isNew) {
      filters.offer();
      tabs();
      list({ toTop: false });
      if (state.case && page.state !== "drawn" && page.state !== "drawing") picture();
    }
  } catch (error) {
    const text = `The viewer does not answer (${error.message}). Is spinestream view still running? What is shown may be old.`;
    banners([...(run.told?.warnings ?? []), { code: "unreachable", text }]);
  }
}

async function follow() {
  if (!document.hidden) await look();
  setTimeout(follow, LOOK_EVERY);
}

// ---- controls of the picture ----

function controls() {
  for (const button of find("layout").children) {
    button.setAttribute("aria-pressed", String(button.dataset.layout === state.layout));
  }
  find("layout").hidden = state.spine !== "";
  find("spine").setAttribute("aria-pressed", String(state.spine !== ""));
  const clip = state.clip ?? [Number(find("clip-depth").value), Number(find("clip-azimuth").value), Number(find("clip-elevation").value)];
  find("clip").checked = state.clip !== null;
  ["depth", "azimuth", "elevation"].forEach((name, index) => {
    find(`clip-${name}`).value = clip[index];
    find(`clip-${name}`).disabled = state.clip === null;
  });
}

function toggled(layer) {
  const has = state.show.includes(layer);
  change({ show: LAYERS.filter((other) => (other === layer ? !has : state.show.includes(other))) });
}

function clipAsSet() {
  return ["depth", "azimuth", "elevation"].map((name) => Number(find(`clip-${name}`).value));
}

function listen() {
  for (const tab of ["vertebrae", "cases"]) {
    find(`tab-${tab}`).addEventListener("click", () => change({ tab }));
    find(`tab-${tab}`).addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = tab === "vertebrae" ? "cases" : "vertebrae";
      change({ tab: other });
      find(`tab-${other}`).focus();
    });
  }
  find("previous").addEventListener("click", () => table.step(-1));
  find("next").addEventListener("click", () => table.step(1));
  for (const layer of LAYERS) {
    find(`show-${layer}`).addEventListener("change", () => toggled(layer));
    find(`opacity-${layer}`).addEventListener("input", (event) => {
      opacity[layer] = Number(event.target.value);
      event.target.parentElement.querySelector("output").textContent = `${opacity[layer]} %`;
      seeThrough();
    });
    document.querySelector(`.layer[data-layer=${layer}] i`).style.background =
      layer === "errors" ? `linear-gradient(90deg, ${css(COLOURS.added)} 50%, ${css(COLOURS.missed)} 50%)` : css(COLOURS[layer]);
  }
  find("layout").addEventListener("click", (event) => {
    const layout = event.target.closest("button")?.dataset.layout;
    if (layout) change({ layout });
  });
  find("spine").addEventListener("click", () => change({ spine: state.spine ? "" : find("spine-of").value }));
  find("spine-of").addEventListener("change", (event) => change({ spine: event.target.value }));
  find("clip").addEventListener("change", (event) => change({ clip: event.target.checked ? clipAsSet() : null }));
  for (const name of ["depth", "azimuth", "elevation"]) {
    find(`clip-${name}`).addEventListener("input", () => change({ clip: clipAsSet() }));
  }
  find("help-open").addEventListener("click", () => find("help").showModal());
  document.addEventListener("keydown", key, { capture: true });
  splitter();
}

const KEYS = [
  ["/", "search", () => find("search").focus()],
  ["j", "next row", () => table.step(1)],
  ["k", "previous row", () => table.step(-1)],
  ["1", "input on or off", () => toggled("input")],
  ["2", "reconstruction on or off", () => toggled("recon")],
  ["3", "reference on or off", () => toggled("reference")],
  ["4", "errors on or off", () => toggled("errors")],
  ["v", "3D and slices, 3D, slices", () => change({ layout: LAYOUTS[(LAYOUTS.indexOf(state.layout) + 1) % LAYOUTS.length] })],
  ["s", "whole spine or one vertebra", () => find("spine").click()],
  ["c", "cut open or close", () => find("clip").click()],
  ["?", "this help", () => find("help").showModal()],
];

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || find("help").open) return;
  const { target } = event;
  if (event.key === "Escape" && target === find("search")) return find("table").focus();
  const isTyping = target.matches("input:not([type=checkbox], [type=range]), select, textarea");
  const known = KEYS.find(([name]) => name === event.key);
  if (isTyping || !known) return;
  // NiiVue has keys of its own while the picture has the focus
  event.preventDefault();
  event.stopPropagation();
  known[2]();
}

function splitter() {
  const bar = find("splitter");
  const main = document.querySelector("main");
  const set = (share) => {
    const bounded = Math.min(70, Math.max(20, share));
    main.style.setProperty("--list", `${bounded}%`);
    bar.setAttribute("aria-valuenow", Math.round(bounded));
  };
  bar.setAttribute("aria-valuemin", 20);
  bar.setAttribute("aria-valuemax", 70);
  const now = () => (100 * find("list").offsetWidth) / main.offsetWidth;
  bar.addEventListener("pointerdown", (event) => {
    bar.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  bar.addEventListener("pointermove", (event) => {
    if (bar.hasPointerCapture(event.pointerId)) set((100 * (event.clientX - main.offsetLeft)) / main.offsetWidth);
  });
  bar.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") set(now() - 2);
    if (event.key === "ArrowRight") set(now() + 2);
  });
}

// ---- all together ----

let tellingFacts = new AbortController();

async function tellFacts() {
  tellingFacts.abort();
  tellingFacts = new AbortController();
  const { signal } = tellingFacts;
  if (!state.case) return facts.hide();
  if (state.spine || rowOf(state.case, state.level) < 0) return facts.showCase(state.case);
  try {
    await facts.showVertebra(state.case, state.level, signal);
  } catch (error) {
    if (!signal.aborted) facts.hide();
  }
}

function changed(names) {
  const any = (...some) => some.some((name) => names.includes(name));
  if (!run.vertebrae) return;
  if (any("tab")) tabs();
  if (any("tab", "q", "levels", "status", "kind", "metric", "sort", "of")) {
    filters.show();
    list({ toTop: !any("of") });
  }
  if (any("case", "level", "tab")) table.follow();
  controls();
  if (any("case", "level", "spine")) tellFacts();
  if (any("case", "level", "spine") || (!state.spine && any("show", "layout"))) picture();
  else if (any("clip")) cutOpen();
}

async function start() {
  const keys = KEYS.flatMap(([name, does]) => [element("dt", {}, element("kbd", {}, name)), element("dd", {}, does)]);
  find("keys").replaceChildren(...keys, element("dt", {}, element("kbd", {}, "↑ ↓ Enter")), element("dd", {}, "move in the table, open the row"));
  onChange(changed);
  listen();
  filters.listen();
  await look();
  page.state = "ready";
  readAddress();
  controls();
  layers({});
  setTimeout(follow, LOOK_EVERY);
  await startScene();
  await picture();
}

start();
