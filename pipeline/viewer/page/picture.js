// The picture and what stands around it: which vertebra is drawn, which layers, and why one is not.

import { levelsOf, rowOf, run } from "./rows.js";
import { Scene } from "./scene.js";
import { state } from "./state.js";
import { COLOURS, LEVEL_COLOURS, NAMES, css, element, spoken } from "./words.js";

const find = (id) => document.getElementById(id);
const page = document.body.dataset;

/** How much is seen of each layer: what was restored shows through what it was made into. */
export const opacity = { input: 35, recon: 100, reference: 60, errors: 100 };

let scene = null;
let noScene = "";
let drawing = new AbortController();

/** Starts what draws, if this build and this browser can; `picture` says so if not. */
export async function startScene() {
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

/** Draws what the state asks for. */
export async function picture() {
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

/** Shows each layer as much as `opacity` says. */
export function seeThrough() {
  later(() => scene?.setOpacity(opacity));
}

/** Cuts surfaces open as the state says. */
export function cutOpen() {
  later(() => scene?.cut(state.clip));
}

/** Shows which layers are on, and why one is missing though it is. */
export function layers(missing) {
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
