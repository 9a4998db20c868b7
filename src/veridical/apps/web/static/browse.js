// Data sets of the catalog, and the ledger.

import { h, fill, byId } from './dom.js';
import { get } from './api.js';

const SHOWN = [['modality', 'modality'], ['anatomy', 'anatomy'], ['size', 'size'], ['licence', 'licence'], ['access', 'access'], ['split', 'split'], ['layout', 'layout on disk'], ['jobs', 'serves'], ['url', 'address'], ['note', 'note'], ['citation', 'citation']];

function words(value) {
  return Array.isArray(value) ? value.join(', ') : value;
}

function entry(one) {
  const rows = SHOWN.filter(([key]) => one[key] && words(one[key])).map(([key, name]) => [h('dt', {}, name), h('dd', {}, words(one[key]))]);
  const anchors = (one.anchors || []).map((a) => h('li', {}, `${a.metric} ${a.value}: ${a.what} (${a.source})`));
  const short = [words(one.modality), words(one.anatomy), one.access, one.licence].filter(Boolean).join(' · ');
  return h('details', { class: 'entry' }, h('summary', {}, h('b', {}, one.name), h('span', {}, short)), h('dl', { class: 'facts' }, rows), anchors.length ? [h('h3', {}, 'Published numbers'), h('ul', { class: 'notes' }, anchors)] : null);
}

export async function datasets(open) {
  const list = h('div', { class: 'entries' });
  const count = h('p', { class: 'soft', role: 'status' });
  const search = h('input', { type: 'search', id: 'words', placeholder: 'knee MR, tumour, PET ...', autocomplete: 'off' });
  const read = async () => {
    const { datasets: found } = await get(`/api/datasets?words=${encodeURIComponent(search.value)}`);
    fill(list, found.map(entry));
    count.textContent = `${found.length} data sets. Nothing is downloaded here; open a copy on disk with: veridical web FOLDER`;
  };
  let timer;
  search.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(read, 200); });
  open('Data sets', h('label', { for: 'words', class: 'search' }, 'Search', search), count, list);
  await read();
}

export async function ledger(open) {
  const said = await get('/api/ledger');
  const rows = said.lines.map((line) => {
    const says = line.says;
    const step = (says.steps || []).at(-1);
    const objects = (says.findings || []).filter(([, verdict]) => ['warn', 'fail'].includes(verdict)).map(([check, verdict]) => `${check} ${verdict}s`).join(', ');
    const what = [step ? `${step.task} with ${step.model}` : '', objects, says.policy ? `policy: ${says.policy.verdict}` : '', says.reason || ''].filter(Boolean).join('; ');
    return h('tr', {}, h('td', {}, String(line.number)), h('td', {}, line.time.slice(0, 19).replace('T', ' ')), h('td', {}, line.kind), h('td', {}, (says.case || says.record || says.report || '').slice(0, 16)), h('td', {}, says.by || ''), h('td', {}, what), h('td', { class: 'hash' }, line.sha256.slice(0, 12)));
  });
  const head = ['Line', 'Time (UTC)', 'Kind', 'Case', 'By', 'What', 'Hash'];
  const table = h('table', {}, h('thead', {}, h('tr', {}, head.map((name) => h('th', { scope: 'col' }, name)))), h('tbody', {}, rows));
  open('Ledger', h('p', { class: said.wrong.length ? 'soft broken' : 'soft' }, `${said.said}.`.replace('..', '.')), said.wrong.map((one) => h('p', { class: 'policy' }, one)), rows.length ? h('div', { class: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'Lines of the ledger' }, table) : null);
}

export function place(node) {
  byId('looking').hidden = node !== 'looking';
  byId('reading').hidden = node !== 'reading';
}
