// Files that are dropped or chosen: gathered with their folders, sent one by one, then opened.

import { post, put } from './api.js';

const AT_ONCE = 4;

async function below(entry, path, found) {
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    found.push([path + file.name, file]);
  } else if (entry.isDirectory) {
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!some.length) break;
      for (const one of some) await below(one, `${path}${entry.name}/`, found);
    }
  }
}

export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
  const found = [];
  for (const entry of entries) await below(entry, '', found);
  return found;
}

export function chosen(list) {
  return [...list].map((file) => [file.webkitRelativePath || file.name, file]);
}

const isNoise = (name) => /(^|\/)(\.DS_Store|Thumbs\.db|desktop\.ini)$/i.test(name);

export async function send(found, progress) {
  const files = found.filter(([name]) => !isNoise(name));
  if (!files.length) return;
  const top = files[0][0].split('/');
  const name = files.length === 1 || top.length === 1 ? top[top.length - 1] : top[0];
  const { id } = await post('/api/cases', { name: files.length > 1 && top.length === 1 ? `${name} and ${files.length - 1} more` : name });
  let next = 0;
  let done = 0;
  const one = async () => {
    while (next < files.length) {
      const [path, file] = files[next++];
      await put(`/api/cases/${id}/file?name=${encodeURIComponent(path)}`, file);
      progress(++done, files.length);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, files.length) }, one));
  await post(`/api/cases/${id}/open`, {});
  return id;
}
