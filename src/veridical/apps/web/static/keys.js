// The keyboard: everything that the mouse can do with the images.

import { h, fill, byId } from './dom.js';

const ABOUT = [
  ['← → ↑ ↓', 'move the cross in the active plane (framed); with Shift by ten voxels'],
  ['Page Up, Page Down', 'next and previous slice of the active plane'],
  ['a c s', 'make the axial, coronal or sagittal plane the active one'],
  ['1 2 3 4', 'three planes, axial, coronal, sagittal'],
  ['b', 'before / after; with , and . the line moves'],
  ['o', 'next overlay: interval, evidence, what was filled in, none'],
  ['m', 'film of the samples; space stops and starts it'],
  ['+ −', 'zoom'],
  ['0', 'centre, usual window, no zoom'],
  ['[ ]', 'darker, brighter'],
  ['Esc', 'leave the images'],
];
const MOUSE = [
  ['Click, drag', 'move the cross; all planes follow'],
  ['Wheel', 'slices'],
  ['Right button, drag', 'window: brightness up and down, contrast left and right'],
];

export function help() {
  const table = (rows) => h('dl', {}, rows.map(([keys, what]) => [h('dt', {}, h('kbd', {}, keys)), h('dd', {}, what)]));
  const dialog = byId('keys');
  fill(dialog, h('h2', { id: 'keys-title' }, 'Keys'), table(ABOUT), h('h2', {}, 'Mouse'), table(MOUSE), h('form', { method: 'dialog' }, h('button', { class: 'main' }, 'Close')));
  dialog.showModal();
}

function brighter(viewer, by) {
  const [low, high] = viewer.window();
  const step = by * (high - low) * 0.05;
  viewer.setWindow(low - step, high - step);
}

function nextOverlay(viewer) {
  const roles = ['', ...viewer.overlays.map((one) => one.role)];
  viewer.setOverlay(roles[(roles.indexOf(viewer.overlay) + 1) % roles.length]);
}

const LETTERS = { a: 0, c: 1, s: 2 };

export function act(viewer, redraw, key, far) {
  const by = far ? 10 : 1;
  const moves = { ArrowLeft: [-by, 0, 0], ArrowRight: [by, 0, 0], ArrowUp: [0, by, 0], ArrowDown: [0, -by, 0], PageUp: [0, 0, by], PageDown: [0, 0, -by] };
  const layouts = { 1: 'three', 2: 'axial', 3: 'coronal', 4: 'sagittal' };
  if (moves[key]) viewer.move(...moves[key]);
  else if (layouts[key] && !viewer.scene.flat) { viewer.arrange(layouts[key]); redraw(); }
  else if (key in LETTERS && !viewer.scene.flat) { viewer.plane = LETTERS[key]; viewer.place(); }
  else if (key === 'b') viewer.setCompared(!viewer.compared);
  else if (key === ',') viewer.setSplit(viewer.split - 0.05);
  else if (key === '.') viewer.setSplit(viewer.split + 0.05);
  else if (key === 'o') nextOverlay(viewer);
  else if (key === 'm') viewer.film(!viewer.filming);
  else if (key === ' ' && viewer.filming) viewer.play(!viewer.playing);
  else if (key === '+' || key === '=') viewer.zoom(1.25);
  else if (key === '-') viewer.zoom(0.8);
  else if (key === '0') viewer.reset();
  else if (key === '[') brighter(viewer, -1);
  else if (key === ']') brighter(viewer, 1);
  else return false;
  return true;
}

export function listen(stage, viewer, redraw) {
  stage.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Escape') stage.blur();
    else if (viewer.scene && act(viewer, redraw, event.key, event.shiftKey)) event.preventDefault();
    if (event.key !== '?' && event.key !== 'Tab') event.stopPropagation();
  }, { capture: true });
  document.addEventListener('keydown', (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName || '');
    if (event.key === '?' && !typing && !byId('keys').open) help();
  });
}
