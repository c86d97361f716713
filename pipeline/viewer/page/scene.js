// The picture: slices of masks and surfaces in 3D, both by NiiVue. In 3D only surfaces are drawn, by a shader of our own.

import { SHADER, box, painted, plain, plane, readPly, twoSided } from "./mesh.js";
import { reason } from "./rows.js";
import { labelColours, laidOver, readLabels } from "./voxels.js";
import { COLOURS, LEVEL_COLOURS } from "./words.js";

/** Files that are kept: those of some five vertebrae. */
const KEPT = 32;

/** Size in 3D and in slices: a patch is a cube of which a vertebra fills the middle. */
const ZOOM_3D = 2;
const ZOOM_2D = 1.15;

/** Where slices are at first, as shares of the patch: in the vertebra's body, which lies before its middle. */
const BODY = [0.5, 0.64, 0.5];

/** Waits for NiiVue's script, which is large and not needed for the table. */
async function niivueLoaded() {
  const script = document.getElementById("niivue");
  const failed = new Error("NiiVue's script could not be loaded");
  if (!globalThis.niivue && document.readyState !== "complete") {
    await new Promise((resolve, reject) => {
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => reject(failed));
      // a script that is loaded or lost already tells no more
      window.addEventListener("load", resolve);
    });
  }
  if (!globalThis.niivue) throw failed;
}

export class Scene {
  /** Starts NiiVue on a canvas. */
  static async open(canvas) {
    await niivueLoaded();
    // before NiiVue asks: a picture that is kept can be read and saved at any time
    if (!canvas.getContext("webgl2", { alpha: true, antialias: true, preserveDrawingBuffer: true })) {
      throw new Error("this browser has no WebGL 2, which the picture needs");
    }
    const { DRAG_MODE, MULTIPLANAR_TYPE, Niivue, SHOW_RENDER } = globalThis.niivue;
    const nv = new Niivue({
      backColor: [0.055, 0.067, 0.086, 1],
      crosshairColor: [0.45, 0.55, 0.7, 0.5],
      fontColor: [0.62, 0.67, 0.75, 1],
      crosshairWidth: 0.3,
      show3Dcrosshair: false,
      isOrientCube: false,
      isColorbar: false,
      isNearestInterpolation: true,
      isSliceMM: true,
      isRadiologicalConvention: true,
      meshThicknessOn2D: 0,
      tileMargin: 4,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      multiplanarLayout: MULTIPLANAR_TYPE.COLUMN,
      dragMode: DRAG_MODE.pan,
      dragAndDropEnabled: false,
      loadingText: "",
      fontMinPx: 13,
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
      viewModeHotKey: "",
      logLevel: "error",
    });
    await nv.attachToCanvas(canvas);
    return new Scene(nv);
  }

  constructor(nv) {
    this.nv = nv;
    // voxels are drawn in slices alone: rays through them would hide the surfaces, and take seconds without a graphics card
    nv.drawImage3D = () => {};
    this.files = new Map();
    this.shader = nv.setCustomMeshShader(SHADER, "Surface");
    this.surfaces = [];
    this.layout = ["3d", false];
    nv.setRenderAzimuthElevation(120, 15);
  }

  /** Draws one vertebra but for the layers `without`; returns for each layer that is not drawn the reason. */
  async vertebra({ caseId, level, show, without, layout, opacity, clip }, signal) {
    const inSlices = layout !== "3d";
    const in3d = layout !== "slices";
    const at = `${encodeURIComponent(caseId)}/${encodeURIComponent(level)}`;
    const missing = Object.fromEntries(Object.entries(without).filter(([layer]) => show.includes(layer)));
    const there = show.filter((layer) => !(layer in missing));
    const [surfaces, volumes] = await Promise.all([
      in3d ? this.#surfacesOf(at, there, missing, signal) : [],
      inSlices ? this.#volumesOf(at, there, opacity, missing, signal) : [],
    ]);
    signal.throwIfAborted();
    this.#replace(surfaces, volumes, opacity);
    this.#centre(volumes.length > 0);
    this.#layOut(layout, volumes.length > 0);
    this.cut(clip);
    return { missing, isEmpty: surfaces.length === 0 && volumes.length === 0 };
  }

  /** Draws the surfaces of all levels of a case. */
  async spine({ caseId, levels, of, opacity, clip }, signal) {
    const missing = {};
    const all = levels.map(async (level) => {
      const at = `${encodeURIComponent(caseId)}/${encodeURIComponent(level)}`;
      const surface = await this.#tried(() => this.#surface(at, of, signal), level, missing, signal);
      return surface && { name: level, layer: of, surface, colour: LEVEL_COLOURS[level] ?? COLOURS.neutral };
    });
    const surfaces = (await Promise.all(all)).filter(Boolean);
    signal.throwIfAborted();
    this.#replace(surfaces, [], { ...opacity, [of]: 100 });
    this.#centre(false);
    this.#layOut("3d", false);
    this.cut(clip);
    return { missing, isEmpty: surfaces.length === 0 };
  }

  /** Takes everything away. */
  clear() {
    this.#replace([], [], {});
    this.nv.drawScene();
  }

  /** Sets how much is seen of each layer, 0 to 100. */
  setOpacity(opacity) {
    for (const mesh of this.nv.meshes) mesh.opacity = (opacity[mesh.layer] ?? 100) / 100;
    this.#solidFirst();
    const [layers] = this.nv.volumes;
    layers?.setColormapLabel(labelColours(layers.shown, opacity));
    if (layers) this.nv.updateGLVolume();
    else this.nv.drawScene();
  }

  /** Cuts surfaces open at [depth, azimuth, elevation], or closes them. */
  cut(clip) {
    const { gl, meshShaders } = this.nv;
    const program = meshShaders[this.shader].shader.program;
    const isCut = clip && this.surfaces.length > 0;
    gl.useProgram(program);
    gl.uniform4fv(gl.getUniformLocation(program, "cut"), isCut ? plane(clip, box(this.surfaces)) : [0, 0, 0, 0]);
    this.nv.drawScene();
  }

  /** Fits the picture to its place. */
  resize() {
    this.nv.resizeListener();
    this.#layOut(...this.layout);
  }

  async #surfacesOf(at, show, missing, signal) {
    const jobs = show.map((layer) =>
      this.#tried(() => this.#surfaceOf(at, layer, signal), layer, missing, signal),
    );
    const found = (await Promise.all(jobs)).filter(Boolean);
    // errors are painted on the reconstruction, which is then not drawn a second time
    const isPainted = found.some(({ name }) => name === "errors");
    return found.filter(({ name }) => !(isPainted && name === "recon"));
  }

  async #surfaceOf(at, layer, signal) {
    if (layer !== "errors") return { name: layer, layer, surface: await this.#surface(at, layer, signal), colour: COLOURS[layer] };
    const [surface, labels] = await Promise.all([this.#surface(at, "recon", signal), this.#labels(at, layer, signal)]);
    return { name: layer, layer, surface, colours: painted(surface, labels, COLOURS) };
  }

  /** Returns masks laid over each other as one volume. */
  async #volumesOf(at, show, opacity, missing, signal) {
    const masks = {};
    const jobs = show.map(async (layer) => {
      const mask = await this.#tried(() => this.#labels(at, layer, signal), layer, missing, signal);
      if (mask) masks[layer] = mask;
    });
    await Promise.all(jobs);
    const shown = show.filter((layer) => layer in masks);
    if (shown.length === 0) return [];
    const name = "layers.nii";
    const layers = await globalThis.niivue.NVImage.loadFromUrl({ url: name, name, buffer: laidOver(masks) });
    layers.shown = shown;
    layers.setColormapLabel(labelColours(shown, opacity));
    return [layers];
  }

  /** Does what may fail because something is not there, which is noted. */
  async #tried(job, name, missing, signal) {
    try {
      return await job();
    } catch (error) {
      signal.throwIfAborted();
      missing[name] = error.message;
      return null;
    }
  }

  #surface(at, layer, signal) {
    const address = `/api/mesh/${at}/${layer}.ply`;
    return this.#kept(address, async () => readPly(await file(address, signal)));
  }

  async #labels(at, layer, signal) {
    const address = `/api/mask/${at}/${layer}.nii.gz`;
    // packed they are a hundredth of the size
    return readLabels(await this.#kept(address, () => file(address, signal)));
  }

  /** Returns what is kept under a name; what could not be had is asked for again. */
  async #kept(name, make) {
    let found = this.files.get(name);
    this.files.delete(name);
    found ??= make();
    this.files.set(name, found);
    if (this.files.size > KEPT) this.files.delete(this.files.keys().next().value);
    try {
      return await found;
    } catch (error) {
      if (this.files.get(name) === found) this.files.delete(name);
      throw error;
    }
  }

  #replace(surfaces, volumes, opacity) {
    const { nv } = this;
    for (const mesh of nv.meshes) mesh.unloadMesh(nv.gl);
    nv.meshes = surfaces.map(({ name, layer, surface, colour, colours }) => {
      const { points, corners } = twoSided(surface);
      const paint = colours ?? plain(surface.points.length / 3, colour);
      const mesh = new globalThis.niivue.NVMesh(points, corners, name, paint, (opacity[layer] ?? 100) / 100, true, nv.gl);
      mesh.layer = layer;
      mesh.meshShaderIndex = this.shader;
      return mesh;
    });
    this.surfaces = surfaces.map(({ surface }) => surface);
    this.#solidFirst();
    // all at once: NiiVue's own addVolume and addMesh would each make every texture anew
    nv.volumes = volumes;
    nv.back = volumes[0] ?? null;
    nv.overlays = volumes.slice(1);
    nv.updateGLVolume();
  }

  /** What is seen through must be drawn after what is behind it. */
  #solidFirst() {
    this.nv.meshes.sort((one, other) => other.opacity - one.opacity);
  }

  #layOut(layout, hasSlices) {
    const { nv } = this;
    const { MULTIPLANAR_TYPE, SHOW_RENDER, SLICE_TYPE } = globalThis.niivue;
    const { offsetWidth, offsetHeight } = nv.gl.canvas;
    const isWide = offsetWidth > offsetHeight;
    const both = layout === "both" && hasSlices;
    this.layout = [layout, hasSlices];
    // large in 3D, slices beside it or below
    nv.opts.heroImageFraction = both ? (isWide ? 0.68 : 0.62) : 0;
    nv.opts.heroSliceType = SLICE_TYPE.RENDER;
    nv.opts.multiplanarShowRender = both ? SHOW_RENDER.ALWAYS : SHOW_RENDER.NEVER;
    const beside = isWide ? MULTIPLANAR_TYPE.COLUMN : MULTIPLANAR_TYPE.ROW;
    nv.opts.multiplanarLayout = both ? beside : MULTIPLANAR_TYPE.GRID;
    nv.setSliceType(layout === "3d" || !hasSlices ? SLICE_TYPE.RENDER : SLICE_TYPE.MULTIPLANAR);
  }

  #centre(hasSlices) {
    const { scene } = this.nv;
    scene.volScaleMultiplier = hasSlices ? ZOOM_3D : 1;
    scene.pan2Dxyzmm = [0, 0, 0, ZOOM_2D];
    scene.crosshairPos = [...BODY];
  }
}

async function file(address, signal) {
  const response = await fetch(address, { signal });
  if (!response.ok) throw new Error(await reason(response));
  return response.arrayBuffer();
}
