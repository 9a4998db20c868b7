// What the page asks of its server. What is refused comes as a sentence, and is thrown as one.

export class Refused extends Error {
  constructor(text, kind) {
    super(text);
    this.kind = kind;
  }
}

async function ask(method, path, body, raw = false, read = (answer) => answer.json()) {
  const options = { method, credentials: 'same-origin' };
  if (body !== undefined) {
    options.body = raw ? body : JSON.stringify(body);
    options.headers = { 'content-type': raw ? 'application/octet-stream' : 'application/json' };
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refused('The program does not answer. Is veridical web still running? Start it again.', 'offline');
  }
  if (answer.ok) return read(answer);
  const said = await answer.json().catch(() => ({}));
  throw new Refused(said.error || `The program answered ${answer.status}. Open the address that veridical web printed.`, said.kind);
}

export const get = (path) => ask('GET', path);
export const post = (path, body = {}) => ask('POST', path, body);
export const put = (path, blob) => ask('PUT', path, blob, true);
export const remove = (path) => ask('DELETE', path);
export const bytes = (path) => ask('GET', path, undefined, false, (answer) => answer.arrayBuffer());
export const sceneAt = (id, view) => `/api/scenes/${id}/${view}`;
