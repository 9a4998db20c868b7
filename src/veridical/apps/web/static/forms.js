// A form from JSON Schema, and the settings that were filled in.

import { h } from './dom.js';

const FIRST = 3;

function words(name) {
  return name.replaceAll('_', ' ');
}

function control(name, field, id, files) {
  const shared = { id, name };
  if (field.format === 'file') {
    return h('select', shared, h('option', { value: '' }, 'none'), files.map((one) => h('option', { value: one.id }, one.title)));
  }
  if (field.enum) {
    return h('select', shared, field.enum.map((one) => h('option', { value: one, selected: one === field.default }, one)));
  }
  if (field.type === 'boolean') return h('input', { ...shared, type: 'checkbox', checked: Boolean(field.default) });
  if (field.type === 'integer' || field.type === 'number') {
    return h('input', { ...shared, type: 'number', step: field.type === 'integer' ? '1' : 'any', value: field.default ?? '' });
  }
  const text = Array.isArray(field.default) ? field.default.join(', ') : field.default ?? '';
  return h('input', { ...shared, type: 'text', value: text, autocomplete: 'off', spellcheck: false, placeholder: field.type === 'array' ? 'separated by commas' : '' });
}

function row(name, field, files, prefix) {
  const id = `${prefix}-${name}`;
  const input = control(name, field, id, files);
  const about = `${id}-about`;
  input.setAttribute('aria-describedby', about);
  const label = h('label', { for: id }, words(name));
  return h('div', { class: field.type === 'boolean' ? 'field switch' : 'field' }, label, input, h('p', { class: 'about', id: about }, field.description));
}

export function draw(schema, { files = [], first = FIRST, prefix = 'field' } = {}) {
  const rows = Object.entries(schema.properties).map(([name, field]) => row(name, field, files, prefix));
  const more = rows.slice(first);
  return h('div', { class: 'fields' }, rows.slice(0, first), more.length ? h('details', {}, h('summary', {}, 'More settings'), more) : null);
}

export function values(form, schema) {
  const found = {};
  for (const [name, field] of Object.entries(schema.properties)) {
    const input = form.querySelector(`[name="${name}"]`);
    if (!input) continue;
    let value = input.type === 'checkbox' ? input.checked : input.value.trim();
    if (field.type === 'array') {
      value = value ? value.split(',').map((one) => one.trim()).filter(Boolean) : [];
      if (['number', 'integer'].includes(field.items?.type) || name === 'style') value = value.map((one) => (one === '' || Number.isNaN(Number(one)) ? one : Number(one)));
    } else if (['number', 'integer'].includes(field.type) && value !== '') value = Number(value);
    const same = JSON.stringify(value) === JSON.stringify(field.default ?? (field.type === 'array' ? [] : ''));
    if (!same && !(value === '' && field.default !== '')) found[name] = value;
  }
  return found;
}
