// The page: what is open on the left, the images in the middle, what is known and can be done on the right.

import { h, fill, byId, toast, capital } from './dom.js';
import { get, post, remove, sceneAt } from './api.js';
import { Viewer } from './viewer.js';
import * as bar from './bar.js';
import * as browse from './browse.js';
import * as drop from './drop.js';
import * as keys from './keys.js';
import * as panels from './panels.js';
import * as list from './list.js';
import { forms } from './panels.js';

const state = { works: new Map(), about: null, selected: '', tab: '', part: null, task: '', patient: 0 };
let viewer = null;

const refuse = (error) => toast(error.message || String(error));
const tried = (act) => async (...given) => {
  try {
    return await act(...given);
  } catch (error) {
    refuse(error);
    return undefined;
  }
};
const work = () => state.works.get(state.selected);
const caseOf = (one) => (one?.kind === 'case' ? one : state.works.get(one?.case));
const patientOf = (one) => one?.found?.patients?.[state.patient];

// ---- what is open -------------------------------------------------------------------------------

function select(id, patient = 0) {
  if (state.selected !== id || state.patient !== patient) Object.assign(state, { tab: '', part: null, task: '' });
  Object.assign(state, { selected: id, patient });
  browse.place('looking');
  drawAll();
  look().catch(refuse);
}

function drawAll() {
  list.draw(byId('works'), state, { select, cancel, close });
  drawPanel().catch(refuse);
  const one = work();
  byId('where').textContent = one ? list.title(one, state.works) : '';
}

const cancel = tried((id) => post(`/api/works/${id}/cancel`));
const close = tried(async (id) => {
  await remove(`/api/works/${id}`);
});

// ---- the images ---------------------------------------------------------------------------------

let shown = '';

async function look() {
  const one = work();
  const scene = sceneOf(one);
  if (!scene) {
    shown = '';
    const waits = one && ['waiting', 'running'].includes(one.state);
    veil(one ? (waits ? list.progressWords(one) : one.found && one.found.archive ? 'The DICOM objects are ready on the right.' : one.state === 'done' ? 'Choose an image on the right.' : 'There is nothing to look at.') : 'Drop a file to begin.');
    return;
  }
  const key = `${scene.owner}/${scene.view}`;
  if (key === shown) return;
  shown = key;
  veil('Loading the images …');
  const found = scene.scene || (await get(sceneAt(scene.owner, scene.view)));
  if (!viewer) return;
  await show(key, scene, found, firstChannel(found));
}

async function show(key, scene, found, channel) {
  await viewer.show(sceneAt(scene.owner, scene.view), found, channel);
  if (shown !== key) return;
  veil('');
  const again = (name) => show(key, scene, found, name).catch(refuse);
  bar.draw(viewer, again);
}

function firstChannel(scene) {
  const own = scene.layers.find((one) => ['image', 'labels'].includes(one.role));
  return (own || scene.layers[0]).channel;
}

function sceneOf(one) {
  if (!one || one.state !== 'done') return null;
  if (one.found.scene) {
    const part = state.part?.view?.replace('view-', '');
    return one.found.more?.[part] ? { owner: one.id, view: `view-${part}`, scene: one.found.more[part] } : { owner: one.id, view: 'view', scene: one.found.scene };
  }
  if (one.kind !== 'case') return null;
  if (state.part) return state.part.view ? { owner: one.id, view: state.part.view } : null;
  const first = Object.keys(one.found.views || {})[0];
  return first ? { owner: one.id, view: first, scene: one.found.views[first] } : null;
}

function veil(text) {
  fill(byId('veil'), text ? h('p', {}, text) : null);
  byId('veil').hidden = !text;
  if (text) {
    bar.clear();
    byId('probe').textContent = '';
  }
}

let asking = 0;
let waiting = 0;

function probe(place) {
  clearTimeout(waiting);
  const number = ++asking;
  const key = shown;
  waiting = setTimeout(async () => {
    try {
      const [x, y, z] = place.map((one) => one.toFixed(3));
      const said = await get(`${sceneAt(...key.split('/'))}/voxel?x=${x}&y=${y}&z=${z}`);
      if (number !== asking || key !== shown) return;
      const own = said.sentences.find((one) => one.startsWith(viewer.channel)) || said.sentences.join(' ');
      byId('probe').textContent = said.inside ? own : 'The cross is outside of the image.';
    } catch (error) {
      byId('probe').textContent = error.message;
    }
  }, 60);
}

// ---- the right side -----------------------------------------------------------------------------

let turns = 0;

async function drawPanel() {
  const turn = ++turns;
  const content = await details();
  if (turn === turns) fill(byId('panel'), content);
}

async function details() {
  const one = work();
  const choose = (name, focus) => {
    state.tab = name;
    drawPanel().then(() => focus && byId(`tab-${name}`)?.focus());
  };
  if (!one) return h('p', { class: 'soft' }, 'Open a file, or make a digital patient.');
  if (['waiting', 'running'].includes(one.state)) return list.running(one, cancel);
  if (one.state !== 'done') return refused(one);
  if (one.found.summary) {
    const also = Object.keys(one.found.more || {});
    const chip = (name, title) => h('button', { type: 'button', class: 'chip', 'aria-pressed': String((state.part?.view || 'view') === name), onclick: () => { state.part = { view: name }; drawPanel(); look().catch(refuse); } }, title);
    const more = also.length ? h('div', { class: 'group', role: 'group', 'aria-label': 'Parts of the result' }, chip('view', 'estimate'), also.map((name) => chip(`view-${name}`, name))) : null;
    return panels.tabs({ Findings: () => [more, panels.findings(one.found.summary)], Provenance: () => panels.provenance(one.found.summary), Next: () => next(one) }, state.tab, choose);
  }
  return one.kind === 'case' ? ofCase(one) : report(one);
}

async function ofCase(one) {
  const stored = one.found.results || 0;
  if (stored) {
    const open = (k) => tried(async () => select((await post(`/api/results/${one.id}/${k}`)).id));
    return [h('h2', {}, 'Stored results'), Array.from({ length: stored }, (_, k) => h('button', { type: 'button', class: 'main', onclick: open(k) }, `Open result ${k + 1}`))];
  }
  const patient = patientOf(one);
  if (!patient) return h('p', { class: 'soft' }, `${one.found.patients.length} patients: choose one on the left.`);
  const part = state.part || patient.parts[0];
  const again = one.do === 'inspect' && patient.patient === null ? h('details', {}, h('summary', {}, 'Read it otherwise'), await readForm(one)) : null;
  return [panels.about(one, patient, part, tried((chosen) => view(one, chosen)), tried((name) => post(`/api/cases/${one.id}/open`, { ...one.options, contrast: name }))), again, await jobForm(one, patient)];
}

async function view(one, part) {
  const said = await post('/api/views', { case: one.id, patient: state.patient, day: part.day, name: part.name });
  state.part = { ...part, view: said.ready ? said.view : '', job: said.job, wanted: said.view };
  drawAll();
  await look();
}

async function jobForm(one, patient) {
  const tasks = state.about.tasks;
  const usable = tasks.filter((task) => patient ? !panels.fits(task, patient) && task.takes !== 'nothing' : task.takes === 'nothing');
  const task = tasks.find((t) => t.name === state.task) || usable.find((t) => t.name === 'enhance') || usable[0];
  if (!task) return h('p', { class: 'soft' }, 'No job takes this.');
  state.task = task.name;
  const schema = await get(`/api/forms/${task.name}`);
  const choose = (name) => {
    state.task = name;
    drawPanel().then(() => document.querySelector(`input[name="task"][value="${name}"]`)?.focus());
  };
  const seed = h('div', { class: 'field' }, h('label', { for: 'seed' }, 'seed'), h('input', { id: 'seed', name: 'the-seed', type: 'number', min: '0', step: '1', value: '0' }), h('p', { class: 'about' }, 'Same seed, same bytes.'));
  const form = h('form', { class: 'job' }, panels.jobs(tasks, patient, task.name, choose), patient ? panels.using(patient, task) : null, forms.draw(schema), seed, h('button', { class: 'main' }, capital(task.name)));
  form.querySelector('details')?.append(seed);
  form.addEventListener('submit', tried(async (event) => {
    event.preventDefault();
    const uses = [...form.querySelectorAll('input[name="use"]:checked')].map((box) => JSON.parse(box.value));
    const order = { task: task.name, settings: forms.values(form, schema), case: patient ? one.id : null, patient: state.patient, chosen: uses, seed: Number(form.querySelector('#seed').value) || 0 };
    select((await post('/api/jobs', order)).id);
  }));
  return form;
}

function next(one) {
  const id = one.id;
  const source = caseOf(one);
  const save = (path, name, title) => h('a', { class: 'button', href: path, download: name }, title);
  const dicom = tried(async () => select((await post(`/api/dicom/${id}`)).id));
  const others = [...state.works.values()].filter((other) => other.state === 'done' && other.id !== id && (other.found.summary || other.found.patients?.length === 1));
  const reference = h('select', { id: 'reference' }, others.map((other) => h('option', { value: other.id }, list.title(other, state.works))));
  return [
    h('h2', {}, 'Take home'),
    h('p', { class: 'row' }, save(`/api/works/${id}/nifti`, '', 'NIfTI'), source ? h('button', { type: 'button', onclick: dicom }, 'DICOM') : null, save(`/api/works/${id}/report?save=true`, '', 'Report')),
    h('p', { class: 'soft' }, 'What the policy blocks is not given out.'),
    h('h2', {}, 'Go on with it'),
    h('p', { class: 'row' }, h('button', { type: 'button', onclick: tried(async () => select((await post(`/api/works/${id}/use`)).id)) }, 'Use as input')),
    h('h2', {}, 'Look closer'),
    h('p', { class: 'row' }, h('button', { type: 'button', onclick: () => openReport(one) }, 'Open the report'), h('button', { type: 'button', onclick: tried(async () => select((await post('/api/audits', { subject: id })).id)) }, 'Audit')),
    h('h2', {}, 'Evaluate against the truth'),
    others.length ? [h('div', { class: 'field' }, h('label', { for: 'reference' }, 'true image'), reference), h('button', { type: 'button', onclick: tried(async () => select((await post('/api/evaluations', { subject: id, reference: reference.value })).id)) }, 'Evaluate')] : h('p', { class: 'soft' }, 'Open the true image first, where there is one.'),
  ];
}

function report(one) {
  const found = one.found;
  const open = h('button', { type: 'button', class: 'main', onclick: () => openReport(one) }, 'Open the report');
  if (found.archive) return [h('h2', {}, `${found.files} DICOM objects`), h('p', { class: 'soft' }, 'They carry the identity of the source series, the mark of how they were made, and what is uncertain.'), h('a', { class: 'button main', href: `/api/works/${one.id}/dicom`, download: '' }, 'Download DICOM')];
  const rows = found.findings || found.levels || [];
  return [h('h2', {}, capital(one.title)), open, h('ul', { class: 'findings' }, rows.map((row) => h('li', {}, h('div', {}, panels.verdict(row.verdict), h('b', {}, row.check || row.level)), h('p', {}, row.reason))))];
}

async function refused(one) {
  if (one.kind === 'case') return panels.problem(one, null, await readForm(one));
  if (one.task && one.error_kind === 'PolicyError') {
    const reason = h('input', { id: 'override', type: 'text', maxLength: 1000, autocomplete: 'off' });
    const form = h('form', { class: 'job' }, h('div', { class: 'field' }, h('label', { for: 'override' }, 'override, with a reason'), reason, h('p', { class: 'about' }, 'It goes into provenance and ledger, with your name; name no patient.')), h('button', { class: 'main' }, 'Run again'));
    form.addEventListener('submit', tried(async (event) => { event.preventDefault(); await rerun(one, reason.value); }));
    return panels.problem(one, null, form);
  }
  return panels.problem(one, one.task ? tried(() => rerun(one, '')) : null);
}

async function readForm(one) {
  const schema = await get('/api/forms/reading');
  for (const [name, value] of Object.entries(one.options)) if (schema.properties[name]) schema.properties[name].default = value;
  const form = h('form', { class: 'job' }, h('h2', {}, 'What the file does not say'), forms.draw(schema, { first: 99, prefix: 'read' }), h('button', { class: 'main' }, 'Read again'));
  form.addEventListener('submit', tried(async (event) => {
    event.preventDefault();
    await post(`/api/cases/${one.id}/open`, { ...one.options, ...forms.values(form, schema) });
  }));
  return form;
}

async function rerun(one, override) {
  const order = { task: one.task, settings: one.settings, case: one.case || null, patient: one.patient, chosen: one.chosen, seed: one.seed, override };
  select((await post('/api/jobs', order)).id);
}

function openReport(one) {
  const frame = h('iframe', { src: `/api/works/${one.id}/report`, title: `Report: ${one.title}` });
  reading(`Report: ${one.title}`, frame);
}

function reading(title, ...content) {
  browse.place('reading');
  const back = h('button', { type: 'button', onclick: () => { browse.place('looking'); viewer?.place(); } }, 'Back to the images');
  fill(byId('reading'), h('div', { class: 'reading-head' }, h('h2', {}, title), back), content);
  byId('reading').focus();
}

// ---- events and files ---------------------------------------------------------------------------

function changed(one) {
  const before = state.works.get(one.id);
  state.works.set(one.id, one);
  const settled = !before || before.state !== one.state;
  if (!state.selected && one.kind === 'case') state.selected = one.id;
  if (settled && one.state === 'done' && one.found.summary && caseOf(one)?.id === state.selected) select(one.id);
  if (settled && state.part?.job === one.id && one.state === 'done') {
    state.part.view = state.part.wanted;
    remove(`/api/works/${one.id}`).catch(refuse);
  }
  if (settled) {
    drawAll();
    look().catch(refuse);
  } else {
    list.draw(byId('works'), state, { select, cancel, close });
    if (one.id === state.selected) {
      list.advance(byId('panel'), one);
      veil(list.progressWords(one));
    }
  }
}

function follow() {
  const events = new EventSource('/api/events');
  events.onmessage = (event) => {
    const said = JSON.parse(event.data);
    if (said.works) {
      state.works = new Map(said.works.map((one) => [one.id, one]));
      if (!state.works.has(state.selected)) state.selected = [...state.works.values()].findLast((one) => one.found.summary)?.id || [...state.works.keys()][0] || '';
      drawAll();
      look().catch(refuse);
    } else if (said.work) changed(said.work);
    else if (said.gone) {
      const gone = state.works.get(said.gone);
      state.works.delete(said.gone);
      if (state.selected === said.gone) state.selected = state.works.has(gone?.case) ? gone.case : [...state.works.keys()][0] || '';
      drawAll();
      look().catch(refuse);
    }
  };
}

const sent = tried(async (found) => {
  const id = await drop.send(found, (done, all) => { byId('where').textContent = `sending ${done} of ${all} files`; });
  if (id) select(id);
});

function handing() {
  const zone = byId('drop');
  for (const kind of ['dragenter', 'dragover']) document.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add('over'); });
  for (const kind of ['dragleave', 'drop']) document.addEventListener(kind, () => zone.classList.remove('over'));
  document.addEventListener('drop', async (event) => { event.preventDefault(); await sent(await drop.dropped(event.dataTransfer)); });
  for (const kind of ['files', 'folder']) {
    byId(`choose-${kind}`)?.addEventListener('click', () => byId(kind).click());
    byId(kind).addEventListener('change', async (event) => { await sent(drop.chosen(event.target.files)); event.target.value = ''; });
  }
}

async function make() {
  Object.assign(state, { selected: '', task: '' });
  drawAll();
  veil('Choose what to make on the right.');
  const form = await jobForm(null, null);
  turns += 1;
  fill(byId('panel'), form);
}

function looking() {
  try {
    viewer = new Viewer(byId('stage'), {
      moved: probe,
      changed: () => bar.draw(viewer),
      split: (share) => { const range = byId('split'); if (range && document.activeElement !== range) range.value = String(Math.round(100 * share)); },
      framed: (frame, count) => { const node = byId('frame'); if (node) node.textContent = `${frame + 1} of ${count}`; },
    });
    viewer.ready.catch(noPictures);
    keys.listen(byId('stage'), viewer, () => bar.draw(viewer));
  } catch (error) {
    noPictures(error);
  }
}

function noPictures() {
  viewer = null;
  toast('This browser draws no WebGL 2, which the viewer needs. Switch on hardware acceleration, or use a current Firefox, Chrome, Edge or Safari. Reports can be read all the same.');
}

async function begin() {
  looking();
  handing();
  byId('keys-button').addEventListener('click', keys.help);
  byId('made').addEventListener('click', tried(make));
  byId('datasets').addEventListener('click', tried(() => browse.datasets(reading)));
  byId('ledger').addEventListener('click', tried(() => browse.ledger(reading)));
  state.about = await get('/api/about');
  follow();
}

begin().catch(refuse);
