// The right side: what a case is and the jobs for it; what a result says, and where it came from.

import { h, capital } from './dom.js';
import * as forms from './forms.js';

const VERDICTS = { pass: 'pass', warn: 'warn', fail: 'fail', not_run: 'not run' };

export function verdict(name) {
  return h('span', { class: `badge ${name}` }, VERDICTS[name] || name);
}

export function tabs(parts, chosen, choose) {
  const names = Object.keys(parts);
  const now = names.includes(chosen) ? chosen : names[0];
  const step = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) choose(names[(names.indexOf(now) + by + names.length) % names.length], true);
  };
  const heads = names.map((name) => h('button', { type: 'button', role: 'tab', id: `tab-${name}`, 'aria-selected': String(name === now), 'aria-controls': 'tab-panel', tabIndex: name === now ? 0 : -1, onclick: () => choose(name), onkeydown: step }, name));
  return [h('div', { class: 'tabs', role: 'tablist', 'aria-label': 'Details' }, heads), h('div', { role: 'tabpanel', id: 'tab-panel', 'aria-labelledby': `tab-${now}`, tabIndex: 0 }, parts[now]())];
}

const SUGGESTED = /if so --contrast ([\w.]+?)\.?$/;

export function about(work, patient, shown, show, readAs) {
  const rows = patient.parts.map((part) => {
    const days = new Set(patient.parts.map((one) => one.day)).size > 1;
    const name = days ? `day ${part.day}: ${part.name}` : part.name;
    const pressed = shown && shown.day === part.day && shown.name === part.name;
    return h('li', {}, h('button', { type: 'button', class: 'part', 'aria-pressed': String(Boolean(pressed)), onclick: () => show(part) }, h('b', {}, name), h('span', {}, { raw: 'raw data', label: 'label map', image: '' }[part.kind]), h('small', {}, part.about)));
  });
  return [h('h2', {}, 'What this is'), h('ul', { class: 'parts' }, rows), patient.notes.length ? h('ul', { class: 'notes' }, patient.notes.map((note) => {
    const name = note.match(SUGGESTED)?.[1];
    return h('li', {}, note, name && patient.patient === null ? h('button', { type: 'button', class: 'suggested', onclick: () => readAs(name) }, `It is ${name}`) : null);
  })) : null];
}

export function fits(task, patient) {
  if (task.takes === 'nothing') return '';
  const kinds = new Set(patient.parts.map((part) => part.kind));
  const wanted = task.takes === 'raw' ? 'raw' : 'image';
  if (kinds.has(wanted)) return '';
  return wanted === 'raw' ? 'takes raw data' : 'takes images; reconstruct first';
}

export function jobs(tasks, patient, chosen, choose) {
  const cards = tasks.filter((task) => patient || task.takes === 'nothing').filter((task) => !patient || task.takes !== 'nothing' || patient.parts.some((part) => part.kind === 'label')).map((task) => {
    const why = patient ? fits(task, patient) : '';
    return h('label', { class: why ? 'card off' : 'card' }, h('input', { type: 'radio', name: 'task', value: task.name, checked: task.name === chosen, disabled: Boolean(why), onchange: () => choose(task.name) }), h('b', {}, capital(task.name)), why || task.name === chosen ? h('span', {}, why || capital(task.summary.replace(/^[^:]*: /, ''))) : null);
  });
  return h('fieldset', { class: 'cards' }, h('legend', {}, 'Job'), cards);
}

export function using(patient, task) {
  const kind = task.takes === 'raw' ? 'raw' : 'image';
  const usable = patient.parts.filter((part) => part.kind === kind);
  if (usable.length < 2) return null;
  const last = Math.max(...usable.map((part) => part.day));
  const several = ['visit', 'study'].includes(task.takes);
  const boxes = usable.map((part, k) => h('label', { class: 'tick' }, h('input', { type: several ? 'checkbox' : 'radio', name: 'use', value: JSON.stringify([part.day, part.name]), checked: several ? task.takes === 'study' || part.day === last : k === usable.findIndex((one) => one.day === last) }), part.name, usable.some((one) => one.day !== part.day) ? ` (day ${part.day})` : ''));
  return h('fieldset', { class: 'ticks' }, h('legend', {}, 'From'), boxes);
}

export function findings(summary) {
  const head = summary.headline;
  return [
    h('div', { class: `headline ${head.verdict}` }, h('h2', {}, head.title), h('p', {}, head.text)),
    summary.policy && summary.policy.verdict !== 'passed' ? h('p', { class: 'policy' }, `Policy ${summary.policy.policy}: ${summary.policy.verdict}${summary.policy.override ? `, because: ${summary.policy.override}` : ''}.`) : null,
    summary.measured.map((line) => h('p', { class: 'said' }, line)),
    summary.interval ? h('p', { class: 'said' }, `Interval: ${summary.interval.replace(/\.?$/, '.')}`) : null,
    h('ul', { class: 'findings' }, summary.findings.map((one) => h('li', {}, h('div', {}, verdict(one.verdict), h('b', {}, one.check)), h('p', {}, one.reason)))),
    Object.keys(summary.absent).length ? [h('h3', {}, 'Absent'), h('ul', { class: 'notes' }, Object.entries(summary.absent).map(([what, why]) => h('li', {}, h('b', {}, `${what}: `), why)))] : null,
  ];
}

function value(one) {
  if (one === null || one === '') return 'none';
  return typeof one === 'object' ? JSON.stringify(one) : String(one);
}

function listed(rows) {
  return h('dl', { class: 'facts' }, rows.filter(([, one]) => one !== undefined).map(([name, one]) => [h('dt', {}, name), h('dd', {}, value(one))]));
}

export function provenance(summary) {
  const channels = Object.entries(summary.channels).map(([name, units]) => `${name} (${units})`).join(', ');
  return [
    h('h2', {}, 'Where it came from'),
    listed([['estimate', summary.kind], ['of', channels], ['grid', summary.grid], ['evidence about', summary.evidence_about || undefined], ['interval', summary.promises || undefined]]),
    summary.steps.map((step, k) => [h('h3', {}, `${k + 1}. ${step.task}`), listed([['model', step.model], ['weights', step.weights], ['seed', step.seed], ...Object.entries(step.settings), ...Object.entries(step.inputs).map(([name, hash]) => [`input ${name}`, hash]), ...Object.entries(step.versions)])]),
    h('h3', {}, 'Files'),
    listed(Object.entries(summary.files).map(([role, file]) => [role, `${file.path.split('/').pop()}  sha256 ${file.sha256.slice(0, 12)}…`])),
  ];
}

export function problem(work, again, form) {
  return [
    h('div', { class: 'headline fail' }, h('h2', {}, work.state === 'cancelled' ? 'Cancelled' : work.error_kind === 'PolicyError' ? 'Blocked by the policy' : 'This was refused'), h('p', {}, work.error)),
    form || null,
    again ? h('button', { type: 'button', class: 'main', onclick: again }, 'Try again') : null,
  ];
}

export { forms };
