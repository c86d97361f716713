// Names, colours and how numbers are written.

/** Colours of layers and errors as 0 to 255; style sheet and legend have the same. */
export const COLOURS = {
  input: [233, 185, 73],
  recon: [86, 170, 232],
  reference: [222, 226, 234],
  added: [235, 87, 87],
  missed: [130, 112, 255],
  neutral: [196, 200, 208],
};

/** One colour a level, told apart by colour-blind eyes too; neighbours differ in lightness. */
export const LEVEL_COLOURS = {
  L1: [86, 180, 233],
  L2: [230, 159, 0],
  L3: [60, 190, 150],
  L4: [240, 228, 100],
  L5: [80, 130, 220],
  L6: [213, 110, 60],
};

export const NAMES = { input: "Input", recon: "Reconstruction", reference: "Reference", errors: "Errors" };

/** What stands where there is no value. */
export const NONE = "–";

const MINUS = "\u2212";
const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** Returns decimals that a metric is shown with; those that background decides lie near 1. */
export function decimals(name) {
  if (name.endsWith("_mm")) return 2;
  return /(^|_)(spec|npv)$/.test(name) ? 5 : 3;
}

/** Returns a value of a metric as text. */
export function fixed(value, digits) {
  if (value === null || value === undefined) return NONE;
  return value.toFixed(digits).replace("-", MINUS);
}

/** Returns a difference with its sign. */
export function signed(value, digits) {
  if (value === null || value === undefined) return NONE;
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? MINUS : "+") + text;
}

/** Returns a whole number with commas at thousands. */
export function count(value) {
  return grouped.format(value);
}

/** Returns "1 case" or "2 cases". */
export function counted(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** Returns a volume in cm³. */
export function volume(mm3) {
  return mm3 === null || mm3 === undefined ? NONE : `${(mm3 / 1000).toFixed(1)} cm³`;
}

/** Returns a duration. */
export function duration(ms) {
  if (ms === null || ms === undefined) return NONE;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${(ms / 60_000).toFixed(1)} min`;
}

/** Returns a code of the tables as words. */
export function spoken(code) {
  return code.replaceAll("_", " ");
}

export function css([red, green, blue]) {
  return `rgb(${red} ${green} ${blue})`;
}

/** Makes an element. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}
