// Colour maps of the overlays, and the bars that explain them. The maps are those of the reports.

export const NAMES = { 'half-width': 'uncertain', evidence: 'imagined', 'filled-in': 'filled' };
const STOPS = [0, 1, 32, 64, 96, 128, 160, 192, 224, 255];

function faded(nv, name, alpha) {
  const lut = nv.colormap(name);
  const pick = (part) => STOPS.map((at) => lut[4 * at + part]);
  return { R: pick(0), G: pick(1), B: pick(2), A: STOPS.map(alpha), I: STOPS };
}

export function add(nv) {
  const seen = (at) => (at ? 255 : 0);
  nv.addColormap('uncertain', faded(nv, 'viridis', seen));
  nv.addColormap('filled', faded(nv, 'magma', seen));
  // Okabe and Ito's orange, told from grey by every kind of colour vision.
  nv.addColormap('imagined', { R: [230, 230, 230], G: [159, 159, 159], B: [0, 0, 0], A: [0, 255, 255], I: [0, 1, 255] });
  nv.addColormap('white', { R: [255, 0], G: [255, 0], B: [255, 0], A: [255, 255], I: [0, 255] });
}

// Overlays come as the root of their cover; below OPAQUE their opacity is its square.
const OPAQUE = { 'half-width': 0.7, evidence: 1, 'filled-in': 0.7 };
const TRANSLUCENT_BELOW_MIN = 2;

export function translucent(volume, role) {
  if (!OPAQUE[role]) return;
  volume.colormapType = TRANSLUCENT_BELOW_MIN;
  volume.cal_min = OPAQUE[role];
  volume.cal_max = 1;
}

export function labels(layer) {
  const top = Math.max(0, ...Object.keys(layer.labels).map(Number));
  const map = { R: [], G: [], B: [], A: [], I: [], labels: [] };
  for (let label = 0; label <= top; label += 1) {
    const colour = layer.colours[label] || '#000000';
    map.R.push(parseInt(colour.slice(1, 3), 16));
    map.G.push(parseInt(colour.slice(3, 5), 16));
    map.B.push(parseInt(colour.slice(5, 7), 16));
    map.A.push(layer.colours[label] ? 255 : 0);
    map.I.push(label);
    map.labels.push(layer.labels[label] || '');
  }
  return map;
}

// Draw a colour map as a bar; that of an overlay as it looks over mid-grey, from 0 to the end of its scale.
export function bar(canvas, nv, name, role) {
  const lut = nv.colormap(name);
  const pen = canvas.getContext('2d');
  for (let at = 0; at < 256; at += 1) {
    const cover = role === 'evidence' ? 1 - at / 255 : at / 255;
    const root = OPAQUE[role] ? Math.sqrt(cover) : cover;
    const alpha = OPAQUE[role] ? Math.min(1, (root / OPAQUE[role]) ** 2) : 1;
    const index = 4 * Math.round(255 * root);
    const [r, g, b] = [0, 1, 2].map((part) => Math.round(alpha * lut[index + part] + (1 - alpha) * 96));
    pen.fillStyle = `rgb(${r} ${g} ${b})`;
    pen.fillRect(at, 0, 1, canvas.height);
  }
}
