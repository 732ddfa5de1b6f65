/**
 * The failover bench as a picture: for each fault and contender every gap as a dot on a logarithmic
 * axis, with its median as a bar. Plain SVG, made by hand. Pure.
 */
import { quantile } from '../../test/lab/gaps.ts';

export interface Series {
  readonly label: string;
  readonly gapsMs: readonly number[];
}

export interface Panel {
  readonly title: string;
  readonly series: readonly Series[];
}

const width = 880;
const left = 150;
const right = 60;
const rowHeight = 18;
const titleHeight = 30;
const axisHeight = 34;
const decades = [1, 10, 100, 1_000, 10_000] as const;
const colours = ['#1b6ca8', '#2a9d8f', '#5b5fc7', '#0b3954', '#d1495b', '#edae49'];

/** Where `ms` lies on the axis. */
function at(ms: number): number {
  const share = Math.log10(Math.max(ms, decades[0])) / Math.log10(10_000);
  return left + share * (width - left - right);
}

export function picture(caption: string, panels: readonly Panel[]): string {
  const parts: string[] = [];
  let top = titleHeight;
  for (const { title, series } of panels) {
    parts.push(text(12, top + 20, title, 'font-weight="bold"'));
    top += titleHeight;
    parts.push(...series.flatMap((row, i) => drawRow(row, i, top + i * rowHeight)));
    top += series.length * rowHeight;
  }
  const grid = decades.flatMap((ms) => [
    `<line x1="${at(ms)}" x2="${at(ms)}" y1="${titleHeight}" y2="${top}" stroke="#ddd"/>`,
    text(at(ms), top + 18, ms < 1_000 ? `${ms} ms` : `${ms / 1_000} s`, 'text-anchor="middle"'),
  ]);
  const size = `width="${width}" height="${top + axisHeight}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="12">`,
    `<title>${escaped(caption)}</title>`,
    '<rect width="100%" height="100%" fill="white"/>',
    text(12, 20, caption, 'font-size="14"'),
    ...grid,
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

function drawRow({ label, gapsMs }: Series, index: number, top: number): string[] {
  const middle = top + rowHeight / 2;
  const colour = colours[index % colours.length] ?? 'black';
  const dots = gapsMs.map(
    (ms) =>
      `<circle cx="${at(ms).toFixed(1)}" cy="${middle}" r="3" fill="${colour}" opacity="0.45"/>`,
  );
  const median = at(quantile(gapsMs, 0.5)).toFixed(1);
  const bar = `y1="${top + 2}" y2="${top + rowHeight - 2}" stroke="${colour}" stroke-width="2"`;
  const line = gapsMs.length === 0 ? [] : [`<line x1="${median}" x2="${median}" ${bar}/>`];
  return [text(left - 10, middle + 4, label, 'text-anchor="end"'), ...dots, ...line];
}

function text(x: number, y: number, words: string, attributes: string): string {
  return `<text x="${x.toFixed(0)}" y="${y}" ${attributes}>${escaped(words)}</text>`;
}

function escaped(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
