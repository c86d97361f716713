// What the tables tell of the vertebra or case that is looked at.

import { fetched, run } from "./rows.js";
import { judged } from "./table.js";
import { NONE, decimals, duration, element, fixed, signed, spoken, volume } from "./words.js";

const find = (id) => document.getElementById(id);
const sections = { numbers: find("numbers"), volumes: find("volumes-of"), facts: find("facts-of") };

/** Shows a vertebra's row in full. */
export async function showVertebra(caseId, level, signal) {
  const at = `${encodeURIComponent(caseId)}/${encodeURIComponent(level)}`;
  const row = await fetched(`/api/vertebra/${at}`, signal);
  metrics(row);
  volumes(row);
  const model = [row.chain.join(" → "), row.model_version].filter(Boolean).join(", ");
  const spacing = row.source_spacing_mm?.map((mm) => mm.toFixed(2)).join(" × ");
  facts([
    ["Status", row.status],
    ["Kind", row.kind],
    ["Reason", row.reason && spoken(row.reason)],
    ["Message", row.message],
    ["Flags", row.flags.map(spoken).join(", ")],
    ["Person", row.person !== row.case_id ? row.person : null],
    ["Label in the mask", row.label],
    ["Source spacing", spacing && `${spacing} mm`],
    ["Model", model],
    ["Sampling", sampling(row)],
    ["Samples agree", row.samples_agreement === null ? null : fixed(row.samples_agreement, 3)],
    ["Reconstructed in", row.reconstruct_ms === null ? null : duration(row.reconstruct_ms)],
    ...made(row),
  ]);
  const links = [];
  for (const layer of ["input", "recon", "reference"]) {
    links.push(link(`/api/mask/${at}/${layer}.nii.gz`, `${caseId}_${level}_${layer}.nii.gz`, `${layer}.nii.gz`));
  }
  links.push(link(`/api/mesh/${at}/recon.stl`, `${caseId}_${level}_recon.stl`, "recon.stl"));
  find("files").replaceChildren("Save ", ...links.flatMap((one, index) => (index > 0 ? [" · ", one] : [one])));
}

/** Shows a case's row. */
export function showCase(caseId) {
  const { cases } = run;
  const row = cases.case_id.indexOf(caseId);
  sections.numbers.hidden = true;
  sections.volumes.hidden = true;
  find("files").replaceChildren();
  if (row < 0) return hide();
  const of = (name) => cases[name][row];
  facts([
    ["Status", of("status")],
    ["Stage", of("stage")],
    ["Kind", of("kind")],
    ["Reason", of("reason") && spoken(of("reason"))],
    ["Message", of("message")],
    ["Vertebrae", of("vertebrae")],
    ["Of them failed", of("vertebrae_failed") || null],
    ["Time", of("duration_ms") === null ? null : duration(of("duration_ms"))],
    ...made({ attempt: of("attempt"), finished_at: of("finished_at") }),
  ]);
}

/** Shows nothing. */
export function hide() {
  for (const section of Object.values(sections)) section.hidden = true;
}

function metrics(row) {
  const body = find("metrics").tBodies[0];
  const lines = run.told.metrics.map(({ name, title, unit, meaning, better }) => {
    const [before, after] = [row.input[name], row.recon[name]];
    const delta = before === null || after === null ? null : after - before;
    const digits = decimals(name);
    const cell = (of, text, kind) => element("td", { "data-of": of, class: kind }, text);
    return element(
      "tr",
      { "data-metric": name, title: `${meaning}; ${better} is better` },
      element("th", { scope: "row" }, title, unit ? element("small", {}, ` ${unit}`) : ""),
      cell("input", fixed(before, digits)),
      cell("recon", fixed(after, digits)),
      cell("delta", signed(delta, digits), `change ${judged(name, delta)}`),
    );
  });
  body.replaceChildren(...lines);
  sections.numbers.hidden = false;
}

function volumes(row) {
  const lines = [
    ["source", "In the scan", row.source_mm3],
    ["input", "Input", row.input_mm3],
    ["recon", "Reconstruction", row.recon_mm3],
    ["reference", "Reference", row.reference_mm3],
  ];
  const made = lines.map(([of, title, mm3]) =>
    element("tr", {}, element("th", { scope: "row" }, title), element("td", { "data-of": of }, volume(mm3))),
  );
  find("volumes").tBodies[0].replaceChildren(...made);
  sections.volumes.hidden = false;
}

function facts(pairs) {
  const has = ([, value]) => value !== null && value !== undefined && value !== "";
  const made = pairs.filter(has).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))]);
  find("facts").replaceChildren(...made);
  sections.facts.hidden = false;
}

function made(row) {
  const at = row.finished_at ? new Date(row.finished_at).toLocaleString() : null;
  const by = [row.worker, row.software_version && `spinestream ${row.software_version}`].filter(Boolean);
  return [["Attempt", row.attempt], ["Finished", at], ["Made by", by.join(", ")]];
}

function sampling(row) {
  const parts = [];
  if (row.sampler) parts.push(row.sampler);
  if (row.steps) parts.push(row.steps === 1 ? "1 step" : `${row.steps} steps`);
  if (row.samples > 1) parts.push(`${row.samples} samples`);
  return parts.join(", ");
}

function link(address, name, text) {
  return element("a", { href: address, download: name }, text || NONE);
}
