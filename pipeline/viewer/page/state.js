// What is looked at, kept in the address after "#": links can be sent, and the browser's back button works.

export const LAYERS = ["input", "recon", "reference", "errors"];
export const LAYOUTS = ["both", "3d", "slices"];

const DEFAULTS = {
  tab: "vertebrae",
  case: "",
  level: "",
  show: ["input", "recon"],
  spine: "",
  layout: "both",
  clip: null,
  sort: { column: "case_id", down: false },
  of: "dsc",
  q: "",
  levels: [],
  status: "",
  kind: "",
  metric: null,
};

/** The state; read it freely, change it by `change` alone. */
export const state = structuredClone(DEFAULTS);

const listeners = [];

/** Calls `listener(names)` after each change with the names of what changed. */
export function onChange(listener) {
  listeners.push(listener);
}

/** Changes the state. A new vertebra becomes an entry of the browser's history, all else does not. */
export function change(parts) {
  const names = differing(parts);
  if (names.length === 0) return;
  Object.assign(state, parts);
  const hash = written();
  const isNewPlace = names.includes("case") || names.includes("level") || names.includes("tab");
  const address = hash ? `#${hash}` : location.pathname;
  if (isNewPlace) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  tell(names);
}

/** Reads the state from the address. */
export function readAddress() {
  const parts = parsed(location.hash.slice(1));
  const names = differing(parts);
  Object.assign(state, parts);
  if (names.length > 0) tell(names);
}

window.addEventListener("hashchange", readAddress);
window.addEventListener("popstate", readAddress);

function tell(names) {
  for (const listener of listeners) listener(names);
}

function differing(parts) {
  const text = (value) => JSON.stringify(value);
  return Object.keys(parts).filter((name) => text(parts[name]) !== text(state[name]));
}

function written() {
  const texts = {
    tab: state.tab,
    case: state.case,
    level: state.level,
    show: state.show.join(","),
    spine: state.spine,
    layout: state.layout,
    clip: state.clip ? state.clip.join(",") : "",
    sort: `${state.sort.column}:${state.sort.down ? "desc" : "asc"}`,
    of: state.of,
    q: state.q,
    levels: state.levels.join(","),
    status: state.status,
    kind: state.kind,
    metric: state.metric ? [state.metric.name, state.metric.min ?? "", state.metric.max ?? ""].join(":") : "",
  };
  const usual = { tab: "vertebrae", show: "input,recon", layout: "both", sort: "case_id:asc", of: "dsc" };
  const pairs = Object.entries(texts).filter(([name, text]) => text !== (usual[name] ?? ""));
  // commas and colons are readable as they are
  const safe = (text) => encodeURIComponent(text).replaceAll("%2C", ",").replaceAll("%3A", ":");
  return pairs.map(([name, text]) => `${name}=${safe(text)}`).join("&");
}

function parsed(hash) {
  const parts = structuredClone(DEFAULTS);
  for (const pair of hash.split("&")) {
    const cut = pair.indexOf("=");
    if (cut < 0) continue;
    const name = pair.slice(0, cut);
    const text = decoded(pair.slice(cut + 1));
    if (text !== null) read(parts, name, text);
  }
  return parts;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** Reads one part; what does not fit is left at its default, since anybody can write an address. */
function read(parts, name, text) {
  const list = text.split(",").filter((word) => word !== "");
  switch (name) {
    case "tab":
      if (text === "cases") parts.tab = text;
      break;
    case "show":
      parts.show = LAYERS.filter((layer) => list.includes(layer));
      break;
    case "spine":
      if (["input", "recon", "reference"].includes(text)) parts.spine = text;
      break;
    case "layout":
      if (LAYOUTS.includes(text)) parts.layout = text;
      break;
    case "clip": {
      const numbers = list.map(Number);
      if (numbers.length === 3 && numbers.every(Number.isFinite)) parts.clip = numbers;
      break;
    }
    case "sort": {
      const [column, way] = text.split(":");
      parts.sort = { column, down: way === "desc" };
      break;
    }
    case "levels":
      parts.levels = list;
      break;
    case "metric": {
      const [metric, min, max] = text.split(":");
      parts.metric = { name: metric, min: number(min), max: number(max) };
      break;
    }
    case "case":
    case "level":
    case "of":
    case "q":
    case "status":
    case "kind":
      parts[name] = text;
      break;
  }
}

/** Returns the number that a text says, or null. A comma is as good as a point. */
export function number(text) {
  if (text === undefined || text === null || text.trim() === "") return null;
  const value = Number(text.trim().replace(",", "."));
  return Number.isFinite(value) ? value : null;
}
