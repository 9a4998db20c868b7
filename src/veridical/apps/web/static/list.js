// The left side: cases, and under each what was made from it.

import { h, fill, capital } from './dom.js';

const STATES = { waiting: 'waits', running: 'runs', done: '', refused: 'refused', cancelled: 'cancelled' };

export function title(one, works) {
  const name = one.kind === 'case' ? one.title : capital(one.title);
  const parent = works.get(one.case);
  return parent ? `${parent.title} › ${name}` : name;
}

export function progressWords(one) {
  if (one.state === 'waiting') return 'Waiting …';
  const [what, done, all] = one.progress.length ? one.progress : ['working', 0, 0];
  return `${capital(what)}${all > 1 ? `, ${done} of ${all}` : ''} …`;
}

function progress(one) {
  const [, done, all] = one.progress.length ? one.progress : ['', 0, 0];
  const value = all > 1 ? Math.round((100 * done) / all) : undefined;
  return h('progress', { max: '100', value: value === undefined ? undefined : String(value), 'aria-label': `Progress of ${one.title}` });
}

export function running(one, cancel) {
  return h('div', { class: 'running' }, h('h2', {}, capital(one.title)), h('p', { role: 'status', class: 'said' }, progressWords(one)), progress(one), h('button', { type: 'button', onclick: () => cancel(one.id) }, 'Cancel'));
}

// Change what a running job says, and leave the button that may have the focus where it is.
export function advance(node, one) {
  const words = node.querySelector('.running .said');
  if (!words) return;
  words.textContent = progressWords(one);
  node.querySelector('.running progress').replaceWith(progress(one));
}

function dot(one) {
  const verdict = one.found.summary?.headline.verdict || (one.state === 'refused' ? 'fail' : '');
  const busy = ['waiting', 'running'].includes(one.state);
  return h('i', { class: `dot ${busy ? 'busy' : verdict}`, 'aria-hidden': 'true' });
}

function item(one, state, act) {
  const busy = ['waiting', 'running'].includes(one.state);
  const verdict = one.found.summary?.headline.verdict;
  const note = STATES[one.state] || (verdict ? verdict.replace('_', ' ') : one.found.patients?.length > 1 ? `${one.found.patients.length} patients` : '');
  const chosen = state.selected === one.id;
  const open = h('button', { type: 'button', class: 'work', 'aria-current': chosen ? 'true' : undefined, onclick: () => act.select(one.id) }, dot(one), h('span', { class: 'name' }, one.kind === 'case' ? one.title : capital(one.title)), h('span', { class: 'note' }, note), busy ? progress(one) : null);
  const close = h('button', { type: 'button', class: 'quiet close', title: busy ? 'Cancel' : 'Close and delete', 'aria-label': `${busy ? 'Cancel' : 'Close'} ${one.title}`, onclick: () => (busy && one.kind === 'job' ? act.cancel(one.id) : act.close(one.id)) }, '×');
  return h('div', { class: one.kind === 'case' ? 'item' : 'item sub' }, open, close);
}

function patients(one, state, act) {
  if (!(one.found.patients?.length > 1)) return null;
  return one.found.patients.map((patient, k) => h('div', { class: 'item sub' }, h('button', { type: 'button', class: 'work', 'aria-current': state.selected === one.id && state.patient === k ? 'true' : undefined, onclick: () => act.select(one.id, k) }, h('span', { class: 'name' }, patient.name), h('span', { class: 'note' }, `${patient.parts.length} images`))));
}

export function draw(node, state, act) {
  const works = [...state.works.values()].filter((one) => one.do !== 'view');
  const roots = works.filter((one) => !one.case || !state.works.has(one.case));
  const focused = document.activeElement?.closest('#works') ? document.activeElement.getAttribute('aria-label') || document.activeElement.textContent : null;
  fill(node, roots.map((one) => h('div', { class: 'case' }, item(one, state, act), patients(one, state, act), works.filter((other) => other.case === one.id).map((other) => item(other, state, act)))));
  if (focused) [...node.querySelectorAll('button')].find((one) => (one.getAttribute('aria-label') || one.textContent) === focused)?.focus();
}

