// Surfaces: read from the server's PLY files, made ready to be cut open and painted, and the shader that draws them.

/** Reads a PLY file as spinestream writes it: vertices of three floats, then triangles. */
export function readPly(buffer) {
  const start = new TextDecoder("ascii").decode(new Uint8Array(buffer, 0, Math.min(buffer.byteLength, 1024)));
  const end = "end_header\n";
  const header = start.slice(0, start.indexOf(end) + end.length);
  const counted = (name) => Number(header.match(new RegExp(`element ${name} (\\d+)`))?.[1]);
  const [vertices, triangles] = [counted("vertex"), counted("face")];
  if (!header.startsWith("ply\n") || !Number.isInteger(vertices) || !Number.isInteger(triangles)) {
    throw new Error("the surface is no file of spinestream");
  }
  const points = new Float32Array(buffer.slice(header.length, header.length + 12 * vertices));
  const bytes = new DataView(buffer, header.length + 12 * vertices);
  const corners = new Uint32Array(3 * triangles);
  for (let triangle = 0; triangle < triangles; triangle++) {
    for (let corner = 0; corner < 3; corner++) {
      corners[3 * triangle + corner] = bytes.getUint32(13 * triangle + 1 + 4 * corner, true);
    }
  }
  return { points, corners, normals: normalsOf(points, corners) };
}

function normalsOf(points, corners) {
  const normals = new Float32Array(points.length);
  for (let at = 0; at < corners.length; at += 3) {
    const [a, b, c] = [3 * corners[at], 3 * corners[at + 1], 3 * corners[at + 2]];
    const [ux, uy, uz] = [points[b] - points[a], points[b + 1] - points[a + 1], points[b + 2] - points[a + 2]];
    const [vx, vy, vz] = [points[c] - points[a], points[c + 1] - points[a + 1], points[c + 2] - points[a + 2]];
    const normal = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    for (const corner of [a, b, c]) {
      for (let axis = 0; axis < 3; axis++) normals[corner + axis] += normal[axis];
    }
  }
  for (let at = 0; at < normals.length; at += 3) {
    const length = Math.hypot(normals[at], normals[at + 1], normals[at + 2]) || 1;
    for (let axis = 0; axis < 3; axis++) normals[at + axis] /= length;
  }
  return normals;
}

/** Mark of the inside, in the alpha of a vertex' colour: NiiVue draws front faces alone, and a cut shows the back. */
const INSIDE = 1;

/** Returns the surface twice, the second time turned inside out. */
export function twoSided({ points, corners }) {
  const count = points.length / 3;
  const twice = new Float32Array(2 * points.length);
  twice.set(points);
  twice.set(points, points.length);
  const both = new Uint32Array(2 * corners.length);
  both.set(corners);
  for (let at = 0; at < corners.length; at += 3) {
    both[corners.length + at] = count + corners[at];
    both[corners.length + at + 1] = count + corners[at + 2];
    both[corners.length + at + 2] = count + corners[at + 1];
  }
  return { points: twice, corners: both };
}

/** Returns one colour for all vertices of a two-sided surface. */
export function plain(vertices, [red, green, blue]) {
  const colours = new Uint8Array(8 * vertices);
  for (let vertex = 0; vertex < 2 * vertices; vertex++) {
    colours.set([red, green, blue, vertex < vertices ? 255 : INSIDE], 4 * vertex);
  }
  return colours;
}

/** Depth in mm from which on an error is painted in full colour. */
const FULL_MM = 3;

/** Steps at which errors are looked for, in mm along the normal. */
const STEPS = [0.5, 1.5, 2.5];

/** Rounds in which each vertex takes on the mean of its neighbours: voxels are steps, and the surface is smooth. */
const ROUNDS = 4;

/**
 * Returns the colours of a reconstruction's surface: where the reconstruction goes out beyond the reference (label 2 beneath
 * the surface), and where it stays within it (label 3 above).
 */
export function painted(surface, errors, { added, missed, neutral }) {
  const vertices = surface.points.length / 3;
  const colours = plain(vertices, neutral);
  const depths = smoothed(depthsOf(surface, errors), surface.corners);
  for (let vertex = 0; vertex < vertices; vertex++) {
    const colour = depths[vertex] > 0 ? added : missed;
    const share = Math.min(1, Math.abs(depths[vertex]) / FULL_MM);
    for (let part = 0; part < 3; part++) {
      const mixed = neutral[part] + share * (colour[part] - neutral[part]);
      colours[4 * vertex + part] = mixed;
      colours[4 * (vertices + vertex) + part] = mixed;
    }
  }
  return colours;
}

/** Returns by how many mm the surface lies outside the reference, or inside it where less than 0. */
function depthsOf({ points, normals }, errors) {
  const depths = new Float32Array(points.length / 3);
  for (let vertex = 0; vertex < depths.length; vertex++) {
    const at = 3 * vertex;
    const label = (step) =>
      errors.at(points[at] + step * normals[at], points[at + 1] + step * normals[at + 1], points[at + 2] + step * normals[at + 2]);
    let [out, within] = [0, 0];
    while (out < STEPS.length && label(-STEPS[out]) === 2) out++;
    while (within < STEPS.length && label(STEPS[within]) === 3) within++;
    depths[vertex] = out - within;
  }
  return depths;
}

function smoothed(values, corners) {
  for (let round = 0; round < ROUNDS; round++) {
    const sums = Float32Array.from(values);
    const counts = new Uint16Array(values.length).fill(1);
    for (let at = 0; at < corners.length; at += 3) {
      const [a, b, c] = [corners[at], corners[at + 1], corners[at + 2]];
      sums[a] += values[b] + values[c];
      sums[b] += values[c] + values[a];
      sums[c] += values[a] + values[b];
      counts[a] += 2;
      counts[b] += 2;
      counts[c] += 2;
    }
    values = sums.map((sum, vertex) => sum / counts[vertex]);
  }
  return values;
}

/** Draws surfaces with a light over the viewer's shoulder; `cut` is a plane in mm, and what lies beyond it is left out. */
export const SHADER = `#version 300 es
precision highp int;
precision highp float;
uniform float opacity;
uniform vec4 cut;
in vec4 vClr;
in vec3 vN;
in vec4 vP;
out vec4 color;
void main() {
  bool isCut = dot(cut.xyz, cut.xyz) > 0.0;
  if (isCut && dot(cut.xyz, vP.xyz) > cut.w) discard;
  if (vClr.a < 0.5) {
    if (!isCut) discard;
    color = vec4(vClr.rgb * 0.5, opacity);
    return;
  }
  vec3 n = normalize(vN);
  vec3 key = normalize(vec3(-0.45, 0.75, -0.8));
  vec3 fill = normalize(vec3(0.8, -0.1, -0.5));
  float light = 0.34 + 0.62 * max(dot(n, key), 0.0) + 0.16 * max(dot(n, fill), 0.0);
  float rim = pow(1.0 - abs(n.z), 3.0);
  float shine = pow(max(dot(reflect(-key, n), vec3(0.0, 0.0, -1.0)), 0.0), 24.0);
  vec3 shaded = vClr.rgb * light + vec3(0.10) * shine;
  float through = opacity < 1.0 ? clamp(opacity + 0.5 * rim, 0.0, 1.0) : 1.0;
  color = vec4(shaded, opacity <= 0.0 ? 0.0 : through);
}`;

/** Returns the plane that cuts a scene open: the half towards azimuth (0 = front, 90 = right) and elevation goes. */
export function plane([depth, azimuth, elevation], { least, most }) {
  const [turn, rise] = [(azimuth * Math.PI) / 180, (elevation * Math.PI) / 180];
  const normal = [Math.sin(turn) * Math.cos(rise), Math.cos(turn) * Math.cos(rise), Math.sin(rise)];
  let [centre, reach] = [0, 0];
  for (let axis = 0; axis < 3; axis++) {
    centre += (normal[axis] * (least[axis] + most[axis])) / 2;
    reach += (Math.abs(normal[axis]) * (most[axis] - least[axis])) / 2;
  }
  return [...normal, centre - (depth / 100) * reach];
}

/** Returns the box around surfaces. */
export function box(surfaces) {
  const [least, most] = [[Infinity, Infinity, Infinity], [-Infinity, -Infinity, -Infinity]];
  for (const { points } of surfaces) {
    for (let at = 0; at < points.length; at++) {
      const axis = at % 3;
      if (points[at] < least[axis]) least[axis] = points[at];
      if (points[at] > most[axis]) most[axis] = points[at];
    }
  }
  return { least, most };
}
