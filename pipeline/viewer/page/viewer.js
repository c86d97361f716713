// The page of a run: asks how it stands, and puts table, picture and numbers together.

import * as facts from "./facts.js";
import * as filters from "./filters.js";
import { chosen, levelsOf, refresh, rowOf, run } from "./rows.js";
import { Scene } from "./scene.js";
import { LAYERS, LAYOUTS, change, onChange, readAddress, state } from "./state.js";
import { Table, shownText } from "./table.js";
import { COLOURS, LEVEL_COLOURS, NAMES, count, counted, css, element, spoken } from "./words.js";

const find = (id) => document.getElementById(id);
const page = document.body.dataset;

/** Time between two looks at how the run stands, in ms. */
const LOOK_EVERY = 2000;

/** How much is seen of each layer: what was restored shows through what it was made into. */
const opacity = { input: 35, recon: 100, reference: 60, errors: 100 };

const table = new Table(find("table"), open);
let scene = null;
let noScene = "";
let drawing = new AbortController();

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
  find("shown").textContent = `${shownText(rows.length, all)} ${state.tab}`;
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

// ---- the picture ----

function note(text) {
  find("stage-note").textContent = text;
  find("stage-note").hidden = text === "";
}

function titled() {
  const isSpine = state.spine !== "";
  const parts = [state.case || "No vertebra chosen", isSpine ? "whole spine" : state.level];
  find("title").textContent = state.case ? parts.filter(Boolean).join(" · ") : parts[0];
}

/** Tells which vertebra or spine is to be drawn, or why none. */
function wished() {
  const asked = { caseId: state.case, opacity, clip: state.clip };
  if (!state.case) return { why: "Choose a row to see its vertebra." };
  if (state.spine) {
    const levels = levelsOf(state.case);
    if (levels.length === 0) return { why: whyNoVertebra() };
    return { draw: (signal) => scene.spine({ ...asked, levels, of: state.spine }, signal) };
  }
  if (rowOf(state.case, state.level) < 0) return { why: whyNoVertebra() };
  if (state.show.length === 0) return { why: "Every layer is switched off." };
  const { level, show, layout } = state;
  const without = layersWithout(rowOf(state.case, level));
  return { draw: (signal) => scene.vertebra({ ...asked, level, show, without, layout }, signal) };
}

/** Returns the layers that a row says it has not, with the reason. */
function layersWithout(row) {
  const { vertebrae } = run;
  const without = {};
  if (vertebrae.status[row] !== "done") without.recon = without.errors = "the vertebra failed";
  if (vertebrae.reference_mm3[row] === null) without.reference = without.errors = "the vertebra has no reference";
  return without;
}

function whyNoVertebra() {
  const row = run.cases.case_id.indexOf(state.case);
  if (row < 0) return `This run has no row of case ${state.case}.`;
  if (run.cases.status[row] !== "failed") return "This case has no such vertebra.";
  const [kind, message] = [run.cases.kind[row], run.cases.message[row]];
  return `The case failed (${kind ?? "no kind given"}): ${message ?? spoken(run.cases.reason[row] ?? "no reason given")}.`;
}

async function picture() {
  drawing.abort();
  drawing = new AbortController();
  const { signal } = drawing;
  titled();
  layers({});
  const wish = wished();
  if (noScene || wish.why) {
    scene?.clear();
    legend();
    note(state.case && noScene && !wish.why ? noScene : wish.why);
    describe("Nothing is drawn");
    page.state = state.case ? "failed" : "ready";
    return;
  }
  if (!scene) return;
  page.state = "drawing";
  const busy = setTimeout(() => (find("busy").hidden = false), 150);
  try {
    const { missing, isEmpty } = await wish.draw(signal);
    layers(missing);
    legend(missing);
    const reasons = [...new Set(Object.values(missing))].join("; ");
    note(isEmpty ? `Nothing to draw: ${reasons}.` : "");
    await nextFrame();
    if (signal.aborted) return;
    describe(isEmpty ? "Nothing is drawn" : described());
    page.state = isEmpty ? "failed" : "drawn";
    if (!isEmpty) {
      page.firstPictureMs ??= String(Math.round(performance.now()));
      page.picture = String(Number(page.picture ?? 0) + 1);
    }
  } catch (error) {
    if (signal.aborted) return;
    note(`Nothing could be drawn: ${error.message}.`);
    page.state = "failed";
  } finally {
    clearTimeout(busy);
    if (!signal.aborted) find("busy").hidden = true;
  }
}

function nextFrame() {
  // a page that nobody sees has no frames
  if (document.hidden) return Promise.resolve();
  return new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
}

function describe(text) {
  find("canvas").setAttribute("aria-label", text);
}

function described() {
  if (state.spine) return `${NAMES[state.spine]} of the whole spine of ${state.case}`;
  return `${state.show.map((layer) => NAMES[layer]).join(", ")} of ${state.case} ${state.level}`;
}

let waiting = null;

/** Changes the picture where no new files are needed; of many changes in one frame, as sliders make, the last. */
async function later(draw) {
  const isFirst = waiting === null;
  waiting = draw;
  if (!isFirst) return;
  await nextFrame();
  const last = waiting;
  waiting = null;
  last();
  if (page.state === "drawn") page.picture = String(Number(page.picture ?? 0) + 1);
}

function legend(missing = {}) {
  const entry = (colour, name) => {
    const swatch = element("i", { "aria-hidden": "true" });
    swatch.style.background = css(colour);
    return element("li", {}, swatch, name);
  };
  let entries = [];
  if (state.spine && state.case) {
    const levels = levelsOf(state.case).filter((level) => !(level in missing));
    entries = levels.map((level) => entry(LEVEL_COLOURS[level] ?? COLOURS.neutral, level));
  } else if (state.case && state.level) {
    const hasErrors = state.show.includes("errors") && !("errors" in missing);
    const isPainted = (layer) => layer === "recon" && hasErrors && state.layout === "3d";
    const plain = state.show.filter((layer) => layer !== "errors" && !(layer in missing) && !isPainted(layer));
    entries = plain.map((layer) => entry(COLOURS[layer], NAMES[layer]));
    if (hasErrors) {
      entries.push(entry(COLOURS.added, "Added"), entry(COLOURS.missed, "Missed"));
    }
  }
  find("legend").replaceChildren(...entries);
}

// ---- controls of the picture ----

function layers(missing) {
  const isSpine = state.spine !== "";
  for (const row of document.querySelectorAll(".layer")) {
    const { layer } = row.dataset;
    row.hidden = isSpine;
    row.classList.toggle("missing", layer in missing);
    row.querySelector("small").textContent = missing[layer] ?? "";
    find(`show-${layer}`).checked = state.show.includes(layer);
    const slider = find(`opacity-${layer}`);
    slider.value = opacity[layer];
    slider.disabled = !state.show.includes(layer);
    row.querySelector("output").textContent = `${opacity[layer]} %`;
  }
  find("spine-choice").hidden = !isSpine;
  find("spine-of").value = state.spine || "recon";
}

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
      later(() => scene?.setOpacity(opacity));
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
  if (any("case", "level", "tab")) table.follow(true);
  controls();
  if (any("case", "level", "spine")) tellFacts();
  if (any("case", "level", "spine") || (!state.spine && any("show", "layout"))) picture();
  else if (any("clip")) later(() => scene?.cut(state.clip));
}

async function startScene() {
  if (run.told && !run.told.niivue) {
    noScene = "Pictures need NiiVue, which this build has not: run cargo xtask setup and build again. Table and numbers are all here.";
    return;
  }
  try {
    scene = await Scene.open(find("canvas"));
    new ResizeObserver(() => scene.resize()).observe(find("picture"));
  } catch (error) {
    noScene = `No picture can be drawn: ${error.message}. Table and numbers are all here.`;
  }
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
  if (state.case || noScene) await picture();
}

start();
