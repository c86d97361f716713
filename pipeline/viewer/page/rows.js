// The rows of the run: fetched as columns, sorted and filtered as lists of their numbers.

import { state } from "./state.js";

/** What the server told last. */
export const run = { told: null, vertebrae: null, cases: null, stamp: "" };

/** Fetches JSON; an error of the server becomes one with its words. */
export async function fetched(address, signal) {
  const response = await fetch(address, { signal });
  if (!response.ok) throw new Error(await reason(response));
  return response.json();
}

/** Returns in words why the server gave something else. */
export async function reason(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `the server answered ${response.status}`;
  }
}

/** Asks how the run stands; returns whether rows changed. */
export async function refresh() {
  run.told = await fetched("/api/run");
  if (run.told.stamp === run.stamp) return false;
  const [vertebrae, cases] = await Promise.all([fetched("/api/vertebrae"), fetched("/api/cases")]);
  run.vertebrae = { ...vertebrae, texts: vertebrae.case_id.map((_, row) => textOf(vertebrae, row)) };
  run.cases = { ...cases, texts: cases.case_id.map((_, row) => textOf(cases, row)) };
  // that of the rows, which may be newer than what was told
  run.stamp = vertebrae.stamp;
  return true;
}

function textOf(rows, row) {
  const columns = [rows.case_id, rows.level, rows.kind, rows.reason, rows.stage, rows.message, rows.flags];
  return columns.map((column) => (column ? [column[row]].flat().join(" ") : "")).join(" ").toLowerCase();
}

/** Returns the value of a column, by the names that the table and the address use. */
export function value(rows, column, row) {
  const direct = rows[column];
  if (Array.isArray(direct)) return Array.isArray(direct[row]) ? direct[row].join(" ") : direct[row];
  const cut = column.indexOf("_");
  const [side, metric] = [column.slice(0, cut), column.slice(cut + 1)];
  if (side === "delta") {
    const [before, after] = [rows.input?.[metric]?.[row], rows.recon?.[metric]?.[row]];
    return before === null || after === null || before === undefined || after === undefined ? null : after - before;
  }
  return rows[side]?.[metric]?.[row] ?? null;
}

/** Returns which rows of a table are to be shown, in order. */
export function chosen(tab) {
  const rows = run[tab];
  if (!rows) return [];
  const words = state.q.toLowerCase().split(/\s+/).filter((word) => word !== "");
  const levels = new Set(tab === "vertebrae" ? state.levels : []);
  const metric = tab === "vertebrae" ? state.metric : null;
  const shown = [];
  for (let row = 0; row < rows.case_id.length; row++) {
    if (levels.size > 0 && !levels.has(rows.level[row])) continue;
    if (state.status && rows.status[row] !== state.status) continue;
    if (state.kind && rows.kind[row] !== state.kind) continue;
    if (metric && !isWithin(value(rows, metric.name, row), metric)) continue;
    if (!words.every((word) => rows.texts[row].includes(word))) continue;
    shown.push(row);
  }
  return sorted(rows, shown);
}

function isWithin(found, { min, max }) {
  if (min === null && max === null) return true;
  return found !== null && (min === null || found >= min) && (max === null || found <= max);
}

/** Sorts by the chosen column; rows without a value come last either way, equals stay in the order of cases and levels. */
function sorted(rows, shown) {
  const { column, down } = state.sort;
  const keys = new Map(shown.map((row) => [row, value(rows, column, row)]));
  const way = down ? -1 : 1;
  return shown.sort((one, other) => {
    const [a, b] = [keys.get(one), keys.get(other)];
    const [noA, noB] = [a === null || a === undefined || a === "", b === null || b === undefined || b === ""];
    if (noA || noB) return noA - noB || one - other;
    const order = typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
    return order * way || one - other;
  });
}

/** Returns the number of a vertebra's row, or −1. */
export function rowOf(caseId, level) {
  const rows = run.vertebrae;
  return rows ? rows.case_id.findIndex((id, row) => id === caseId && rows.level[row] === level) : -1;
}

/** Returns the levels of a case that were done, from the head down. */
export function levelsOf(caseId) {
  const rows = run.vertebrae;
  if (!rows) return [];
  const found = rows.level.filter((_, row) => rows.case_id[row] === caseId && rows.status[row] === "done");
  return [...new Set(found)].sort();
}
