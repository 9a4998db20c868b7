// The viewer: three linked planes, what was there before beside what was made, overlays, samples.

import { h, fill } from './dom.js';
import { bytes } from './api.js';
import * as colours from './colours.js';

const { Niivue, NVImage, DRAG_MODE, SHOW_RENDER } = globalThis.niivue;
const PLANES = ['axial', 'coronal', 'sagittal'];
const MARKS = [['R', 'L', 'A', 'P'], ['R', 'L', 'S', 'I'], ['A', 'P', 'S', 'I']];
const LAYOUTS = {
  three: [[0, [0, 0, 0.62, 1]], [1, [0.62, 0, 0.38, 0.5]], [2, [0.62, 0.5, 0.38, 0.5]]],
  axial: [[0, [0, 0, 1, 1]]],
  coronal: [[1, [0, 0, 1, 1]]],
  sagittal: [[2, [0, 0, 1, 1]]],
};
const OPTIONS = {
  backColor: [0.012, 0.02, 0.027, 1],
  crosshairColor: [0.42, 0.77, 0.87, 0.85],
  crosshairWidth: 0.16,
  crosshairWidthUnit: 'percent',
  crosshairGap: 12,
  fontColor: [0.91, 0.94, 0.95, 0.9],
  fontMinPx: 12,
  isRadiologicalConvention: true,
  sagittalNoseLeft: true,
  isOrientationTextVisible: false,
  isColorbar: false,
  multiplanarShowRender: SHOW_RENDER.NEVER,
  dragAndDropEnabled: false,
  dragMode: DRAG_MODE.windowing,
  isSliceMM: true,
  loadingText: '',
  logLevel: 'error',
  viewModeHotKey: '',
  clipPlaneHotKey: '',
  cycleClipPlaneHotKey: '',
  isResizeCanvas: true,
};

export class Viewer {
  constructor(stage, on) {
    this.stage = stage;
    this.on = on;
    this.split = 0.5;
    this.compared = false;
    this.plane = 0;
    this.layout = 'three';
    this.opacity = 0.6;
    this.overlay = '';
    this.ready = this.attach();
  }

  async attach() {
    const [after, before] = ['after', 'before'].map((id) => this.stage.querySelector(`#${id}`));
    if (!after.getContext('webgl2')) throw new Error('no WebGL 2');
    this.after = new Niivue({ ...OPTIONS });
    this.before = new Niivue({ ...OPTIONS, interactive: false });
    await this.after.attachToCanvas(after);
    await this.before.attachToCanvas(before);
    for (const canvas of [after, before]) canvas.tabIndex = -1; // the stage has the focus and the keys
    for (const nv of [this.after, this.before]) colours.add(nv);
    this.after.onLocationChange = (said) => this.moved(said);
    this.after.onIntensityChange = (volume) => this.windowed(volume);
    for (const kind of ['wheel', 'pointermove', 'pointerup', 'mouseup']) after.addEventListener(kind, () => this.follow());
    after.addEventListener('pointerdown', (event) => this.activate(event));
    new ResizeObserver(() => this.resized()).observe(this.stage);
    setInterval(() => this.settle(), 250);
  }

  resized() {
    for (const nv of [this.after, this.before]) nv.resizeListener();
    requestAnimationFrame(() => this.place());
  }

  // The planes are drawn when the graphics are ready for it; names and lines follow them.
  settle() {
    const now = JSON.stringify(this.scene ? this.rects() : []);
    if (now !== this.placed) this.place();
  }

  // Show the layers of one channel of a scene.
  async show(base, scene, channel) {
    await this.ready;
    this.stopFilm();
    Object.assign(this, { base, scene, channel, overlay: '', compared: false, filming: false });
    const own = scene.layers.filter((one) => one.channel === channel);
    this.inputs = scene.layers.filter((one) => one.role === 'input');
    this.labels = own.find((one) => one.role === 'labels');
    this.image = own.find((one) => one.role === 'image') || this.inputs[0] || this.labels;
    this.input = own.find((one) => one.role === 'input') || this.inputs[0];
    this.overlays = own.filter((one) => ['half-width', 'evidence', 'filled-in'].includes(one.role));
    if (this.labels) this.overlays.unshift(this.labels);
    this.samples = own.find((one) => one.role === 'samples');
    await this.load(this.after, this.image);
    if (this.input) await this.load(this.before, this.input);
    this.loaded = this.image;
    this.layout = scene.flat || 'three';
    this.plane = scene.flat ? PLANES.indexOf(scene.flat) : 0;
    this.arrange(this.layout);
    this.center();
    if (this.labels && this.labels !== this.image) await this.setOverlay('labels');
    this.place();
  }

  async load(nv, layer) {
    const volume = await this.volume(layer, layer.units === 'SUV' ? 'white' : 'gray', 1);
    nv.volumes = [];
    nv.addVolume(volume);
    if (layer.role !== 'labels') return;
    volume.setColormapLabel(colours.labels(layer));
    nv.updateGLVolume();
  }

  async volume(layer, colormap, opacity) {
    const [low, high] = layer.window;
    const name = `${layer.id}.nii`;
    const buffer = await bytes(`${this.base}/layers/${layer.id}`);
    return NVImage.loadFromUrl({ url: name, name, buffer, colormap, opacity, cal_min: low, cal_max: high });
  }

  center() {
    this.after.scene.crosshairPos = [0.5, 0.5, 0.5];
    this.after.drawScene();
    this.after.createOnLocationChange();
  }

  arrange(name) {
    this.layout = name;
    if (PLANES.includes(name)) this.plane = PLANES.indexOf(name);
    const tiles = LAYOUTS[name].map(([sliceType, position]) => ({ sliceType, position }));
    for (const nv of [this.after, this.before]) if (nv.volumes.length) nv.setCustomLayout(tiles);
    this.follow();
  }

  async setOverlay(role) {
    const layer = this.overlays.find((one) => one.role === role);
    while (this.after.volumes.length > 1) this.after.removeVolume(this.after.volumes[1]);
    this.overlay = layer ? role : '';
    if (layer) {
      const labels = role === 'labels';
      const volume = await this.volume(layer, labels ? 'gray' : colours.NAMES[role], this.opacity);
      colours.translucent(volume, role);
      this.after.addVolume(volume);
      if (labels) {
        volume.setColormapLabel(colours.labels(layer));
        this.after.updateGLVolume();
      }
    }
    this.on.changed();
  }

  setOpacity(value) {
    this.opacity = value;
    if (this.after.volumes.length > 1) this.after.setOpacity(1, value);
  }

  setCompared(wanted) {
    this.compared = Boolean(wanted && this.input && this.input !== this.image);
    this.place();
    this.on.changed();
  }

  setSplit(share) {
    this.split = Math.min(1, Math.max(0, share));
    this.place();
    this.on.split(this.split);
  }

  setWindow(low, high) {
    for (const nv of [this.after, this.before]) {
      const volume = nv.volumes[0];
      if (!volume || (nv === this.before && this.input.units !== this.image.units)) continue;
      volume.cal_min = low;
      volume.cal_max = high;
      nv.updateGLVolume();
    }
    this.on.changed();
  }

  window() {
    const volume = this.after.volumes[0];
    return volume ? [volume.cal_min, volume.cal_max] : this.image.window;
  }

  windowed(volume) {
    if (volume !== this.after.volumes[0]) return;
    if (this.input && this.input.units === this.image.units && this.before.volumes[0]) {
      this.before.volumes[0].cal_min = volume.cal_min;
      this.before.volumes[0].cal_max = volume.cal_max;
      this.before.updateGLVolume();
    }
    this.on.changed();
  }

  // Samples as a film: each of them could be the truth as far as the model knows.
  async film(wanted) {
    if (!this.samples || wanted === this.filming) return;
    this.filming = wanted;
    await this.setOverlay('');
    const shown = this.window();
    const at = [...this.after.scene.crosshairPos];
    await this.load(this.after, wanted ? this.samples : this.image);
    this.loaded = wanted ? this.samples : this.image;
    this.after.scene.crosshairPos = at;
    this.arrange(this.layout);
    this.setWindow(...shown);
    this.frame = 0;
    if (wanted) this.play(true);
    else this.stopFilm();
    this.on.changed();
  }

  play(wanted) {
    clearInterval(this.timer);
    this.playing = wanted;
    if (wanted) this.timer = setInterval(() => this.step(1), 350);
    this.on.changed();
  }

  stopFilm() {
    clearInterval(this.timer);
    this.playing = false;
    this.filming = false;
  }

  step(by) {
    const count = this.samples.frames;
    this.frame = (this.frame + by + count) % count;
    this.after.setFrame4D(this.after.volumes[0].id, this.frame);
    this.on.framed(this.frame, count);
  }

  // Move the cross by voxels as seen on the screen of the active plane: right, up, and to the next slice.
  move(right, up, next) {
    const [x, y, z] = [[-right, up, next], [-right, next, up], [next, -right, up]][this.plane];
    this.after.moveCrosshairInVox(x, y, z);
    this.after.createOnLocationChange();
    this.follow();
  }

  zoom(factor) {
    const pan = this.after.scene.pan2Dxyzmm;
    this.after.setPan2Dxyzmm([pan[0], pan[1], pan[2], Math.min(12, Math.max(0.5, pan[3] * factor))]);
    this.follow();
  }

  reset() {
    this.after.setPan2Dxyzmm([0, 0, 0, 1]);
    this.setWindow(...this.image.window);
    this.center();
    this.follow();
  }

  activate(event) {
    const { left, top } = this.stage.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    const tile = this.rects().find((one) => x >= one.left && x <= one.left + one.width && y >= one.top && y <= one.top + one.height);
    if (tile) this.plane = tile.plane;
    this.place();
  }

  moved(said) {
    this.follow();
    this.on.moved(Array.from(said.mm).slice(0, 3));
  }

  follow() {
    requestAnimationFrame(() => {
      if (this.input && this.before?.volumes.length) {
        this.before.scene.crosshairPos = [...this.after.scene.crosshairPos];
        this.before.scene.pan2Dxyzmm = [...this.after.scene.pan2Dxyzmm];
        this.before.drawScene();
      }
      this.place();
    });
  }

  rects() {
    const ratio = this.after.uiData.dpr || window.devicePixelRatio || 1;
    return this.after.screenSlices
      .filter((one) => one.axCorSag <= 2 && one.leftTopWidthHeight.length === 4)
      .map((one) => {
        const [left, top, width, height] = one.leftTopWidthHeight.map((value) => value / ratio);
        return { left, top, width, height, plane: one.axCorSag };
      });
  }

  // Put names, and where two states are compared the line between them, on each plane.
  place() {
    if (!this.scene) return;
    const tiles = this.rects();
    this.placed = JSON.stringify(tiles);
    const canvas = this.stage.querySelector('#before');
    const line = (one) => one.left + one.width * this.split;
    canvas.classList.toggle('shown', this.compared);
    const parts = tiles.map((one) => `M${one.left} ${one.top}H${line(one)}V${one.top + one.height}H${one.left}Z`);
    canvas.style.clipPath = `path("${parts.join('') || 'M0 0Z'}")`;
    const sizes = [this.scene.shape, this.after.volumes[0]?.dimsRAS];
    fill(this.stage.querySelector('#tiles'), tiles.map((one) => this.tile(one, line(one), tiles.length, sizes)));
  }

  tile(one, at, count, sizes) {
    const place = { left: `${one.left}px`, top: `${one.top}px`, width: `${one.width}px`, height: `${one.height}px` };
    const name = this.scene.frame === 'index' ? 'as stored, orientation unknown' : PLANES[one.plane];
    const along = [3, 2, 1][one.plane];
    const slices = sizes[1] ? sizes[1][along] : 1;
    const slice = Math.min(slices, Math.floor(this.after.scene.crosshairPos[along - 1] * slices) + 1);
    const text = slices > 1 ? `${name} · ${slice} / ${slices}` : name;
    const node = h('div', { class: count > 1 && one.plane === this.plane ? 'tile active' : 'tile', style: place }, h('span', { class: 'tile-name' }, text));
    if (this.scene.frame !== 'index') node.append(...['left', 'right', 'top', 'bottom'].map((side, k) => h('b', { class: `mark ${side}` }, MARKS[one.plane][k])));
    if (!this.compared) return node;
    const start = (event) => this.drag(event, one);
    node.append(h('div', { class: 'split', style: { left: `${at - one.left}px` }, onpointerdown: start }, h('i', {})));
    if (one.plane === (this.scene.flat ? PLANES.indexOf(this.scene.flat) : 0) || count === 1) {
      node.append(h('span', { class: 'side left' }, this.input.title), h('span', { class: 'side right' }, 'result'));
    }
    return node;
  }

  drag(event, one) {
    event.preventDefault();
    const edge = this.stage.getBoundingClientRect().left;
    const move = (moved) => this.setSplit((moved.clientX - edge - one.left) / one.width);
    const stop = () => {
      window.removeEventListener('pointermove', move);
      window.removeEventListener('pointerup', stop);
    };
    window.addEventListener('pointermove', move);
    window.addEventListener('pointerup', stop);
  }
}
