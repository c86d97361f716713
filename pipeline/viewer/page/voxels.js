// Masks of one vertebra: read from the server's NIfTI files, and laid over each other as one label map.
// NiiVue could lay them over each other itself, but needs seconds for a third one where there is no graphics card.

import { COLOURS } from "./words.js";

/** Bits of a voxel: a mask each, and two for what the errors say (0 to 3). */
const BITS = { input: 1, recon: 2, reference: 4, errors: 8 };
const VALUES = 32;

/** What slices show where there is no mask: a little lighter than what lies around them. */
const GROUND = [19, 23, 30];

/** How much is seen of voxels that are in both masks, where errors are shown. */
const BOTH = 0.35;

/** Unpacks gzip. */
async function unpacked(buffer) {
  const stream = new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** Reads a label map of bytes (NIfTI-1, packed) as header and labels, and tells the label at a place in RAS mm. */
export async function readLabels(packed) {
  const buffer = await unpacked(packed);
  const header = new DataView(buffer);
  const size = [0, 1, 2].map((axis) => header.getInt16(42 + 2 * axis, true));
  const offset = header.getFloat32(108, true);
  const rows = [280, 296, 312].map((row) => [0, 1, 2, 3].map((column) => header.getFloat32(row + 4 * column, true)));
  if (header.getInt16(70, true) !== 2) throw new Error("expected labels of one byte");
  const labels = new Uint8Array(buffer, offset, size[0] * size[1] * size[2]);
  // patches lie along the axes of the body, so that each index follows from one coordinate
  const index = (axis, mm) => Math.round((mm - rows[axis][3]) / rows[axis][axis]);
  return {
    header: buffer.slice(0, offset),
    labels,
    at(x, y, z) {
      const [i, j, k] = [index(0, x), index(1, y), index(2, z)];
      if (i < 0 || j < 0 || k < 0 || i >= size[0] || j >= size[1] || k >= size[2]) return 0;
      return labels[i + size[0] * (j + size[1] * k)];
    },
  };
}

/** Returns one file (NIfTI-1, not packed) of masks on the same grid, by the names of their layers. */
export function laidOver(masks) {
  const [first] = Object.values(masks);
  const voxels = new Uint8Array(first.labels.length);
  for (const [layer, { labels }] of Object.entries(masks)) {
    if (labels.length !== voxels.length) throw new Error("the masks lie on different grids");
    const bit = BITS[layer];
    const isErrors = layer === "errors";
    for (let voxel = 0; voxel < voxels.length; voxel++) {
      const label = labels[voxel];
      if (label !== 0) voxels[voxel] |= bit * (isErrors ? label : 1);
    }
  }
  const file = new Uint8Array(first.header.byteLength + voxels.length);
  file.set(new Uint8Array(first.header));
  file.set(voxels, first.header.byteLength);
  return file.buffer;
}

/** Returns the colours of such a file's labels, for the layers that are shown, each seen as much as `opacity` says (0 to 100). */
export function labelColours(show, opacity) {
  const seen = (layer) => (opacity[layer] ?? 100) / 100;
  // what is seen through lies above what it hides; errors above all
  const order = show.filter((layer) => layer !== "errors").sort((one, other) => seen(other) - seen(one));
  if (show.includes("errors")) order.push("errors");
  const map = { R: [], G: [], B: [], A: [], I: [], labels: [] };
  for (let value = 0; value < VALUES; value++) {
    let mixed = GROUND;
    for (const layer of order) {
      const errors = value >> 3;
      if (layer === "errors" && errors > 0) mixed = over(errorColour(errors), errors === 1 ? BOTH * seen(layer) : seen(layer), mixed);
      else if (layer !== "errors" && value & BITS[layer]) mixed = over(COLOURS[layer], seen(layer), mixed);
    }
    map.R.push(Math.round(mixed[0]));
    map.G.push(Math.round(mixed[1]));
    map.B.push(Math.round(mixed[2]));
    map.A.push(255);
    map.I.push(value);
    map.labels.push("");
  }
  return map;
}

function errorColour(errors) {
  return [COLOURS.neutral, COLOURS.added, COLOURS.missed][errors - 1];
}

/** Lays a colour over another, so that `share` of it is seen. */
function over(colour, share, below) {
  return colour.map((part, index) => share * part + (1 - share) * below[index]);
}
