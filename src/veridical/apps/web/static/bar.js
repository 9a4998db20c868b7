// The controls under the images: planes, comparison, overlays with their scales, samples, window.

import { h, fill, byId, number } from './dom.js';
import * as colours from './colours.js';

const OVERLAYS = { 'half-width': 'Interval', evidence: 'Evidence', 'filled-in': 'Filled in', labels: 'Labels' };
const WINDOWS = { 'Soft tissue': [-160, 240], Brain: [0, 80], Bone: [-450, 1050], Lung: [-1350, 150] };
const LAYOUTS = { three: 'Three planes', axial: 'Axial', coronal: 'Coronal', sagittal: 'Sagittal' };

function choice(name, pressed, act, more = {}) {
  return h('button', { type: 'button', class: 'chip', 'aria-pressed': String(Boolean(pressed)), onclick: act, ...more }, name);
}

function group(label, ...parts) {
  return h('div', { class: 'group', role: 'group', 'aria-label': label }, h('span', { class: 'group-name', 'aria-hidden': 'true' }, label), parts);
}

function scale(viewer, title, colormap, ends, units, role = '') {
  const canvas = h('canvas', { width: 256, height: 10, role: 'img', 'aria-label': `${title}: ${ends.join(' to ')} ${units}` });
  colours.bar(canvas, viewer.after, colormap, role);
  return h('figure', { class: 'scale' }, h('figcaption', {}, title), canvas, h('div', { class: 'ends' }, h('span', {}, ends[0]), h('span', {}, ends[1])));
}

function labelNames(layer) {
  const names = Object.entries(layer.labels).map(([key, name]) => h('li', {}, h('i', { style: { background: layer.colours[key] } }), name));
  return h('details', { class: 'labels' }, h('summary', {}, `${names.length} labels`), h('ul', {}, names));
}

function overlayScale(viewer) {
  const layer = viewer.overlays.find((one) => one.role === viewer.overlay);
  if (!layer) return null;
  if (layer.role === 'labels') return layer === viewer.image ? null : labelNames(layer);
  const units = layer.units === '1' ? '' : ` ${layer.units}`;
  const ends = layer.role === 'evidence' ? ['0 imagined', '1 measured'] : ['0', `${number(layer.window[1])}${units} or more`];
  return scale(viewer, layer.title, colours.NAMES[layer.role], ends, units, layer.role);
}

function greyScale(viewer) {
  if (viewer.image.role === 'labels') return labelNames(viewer.image);
  const [low, high] = viewer.window();
  const units = viewer.image.units;
  return scale(viewer, viewer.image.title, units === 'SUV' ? 'white' : 'gray', [number(Math.abs(low) < 1e-3 * (high - low) ? 0 : low), `${number(high)} ${units === '1' ? '' : units}`], units);
}

function compare(viewer) {
  if (!viewer.input || viewer.input === viewer.image || viewer.filming) return null;
  const range = h('input', { type: 'range', disabled: !viewer.compared, id: 'split', min: '0', max: '100', value: String(Math.round(100 * viewer.split)), 'aria-label': 'Share of each plane that shows the input', oninput: (event) => viewer.setSplit(event.target.value / 100) });
  return group('Compare', choice('Before / after', viewer.compared, () => viewer.setCompared(!viewer.compared), { 'aria-keyshortcuts': 'b' }), range);
}

function overlays(viewer) {
  const shown = viewer.overlays.filter((one) => one !== viewer.image);
  if (!shown.length || viewer.filming) return null;
  const chips = shown.map((one) => choice(OVERLAYS[one.role], viewer.overlay === one.role, () => viewer.setOverlay(viewer.overlay === one.role ? '' : one.role)));
  const opacity = h('input', { type: 'range', disabled: !viewer.overlay, min: '10', max: '100', value: String(Math.round(100 * viewer.opacity)), 'aria-label': 'Opacity of the overlay', oninput: (event) => viewer.setOpacity(event.target.value / 100) });
  return group('Overlay', chips, opacity);
}

function samples(viewer) {
  if (!viewer.samples) return null;
  const film = choice('Samples', viewer.filming, () => viewer.film(!viewer.filming), { 'aria-keyshortcuts': 's', title: 'Images that the data allow, one after the other' });
  if (!viewer.filming) return group('Film', film);
  return group('Film', film, choice(viewer.playing ? 'Pause' : 'Play', false, () => viewer.play(!viewer.playing)), h('span', { id: 'frame', class: 'frame' }, `1 of ${viewer.samples.frames}`));
}

function windows(viewer) {
  if (viewer.image.units !== 'HU') return null;
  const [low, high] = viewer.window();
  return group('Window', Object.entries(WINDOWS).map(([name, ends]) => choice(name, low === ends[0] && high === ends[1], () => viewer.setWindow(...ends))));
}

function planes(viewer) {
  if (viewer.scene.flat) return null;
  return group('View', Object.entries(LAYOUTS).map(([name, title], k) => choice(title, viewer.layout === name, () => { viewer.arrange(name); draw(viewer); }, { 'aria-keyshortcuts': String(k + 1) })));
}

function channels(viewer, onchannel) {
  const names = [...new Set(viewer.scene.layers.filter((one) => one.role === 'image' || one.role === 'labels').map((one) => one.channel))];
  if (names.length < 2) return null;
  return group('Image', names.map((name) => choice(name, name === viewer.channel, () => onchannel(name))));
}

let kept = () => {};

export function draw(viewer, onchannel = kept) {
  kept = onchannel;
  const focused = document.activeElement?.closest('#bar') ? document.activeElement.textContent : null;
  if (document.activeElement?.type === 'range' && document.activeElement.closest('#bar')) return;
  fill(byId('bar'), channels(viewer, onchannel), compare(viewer), overlays(viewer), samples(viewer), windows(viewer), planes(viewer));
  fill(byId('scales'), greyScale(viewer), overlayScale(viewer));
  if (focused) [...byId('bar').querySelectorAll('button')].find((one) => one.textContent === focused)?.focus();
}

export function clear() {
  fill(byId('bar'));
  fill(byId('scales'));
}
