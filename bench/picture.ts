/**
 * A bench as a picture: for each panel and contender every measurement as a dot on a logarithmic
 * axis, with its median as a bar. Plain SVG, made by hand. Pure.
 */
import { quantile } from '../test/lab/gaps.ts';

export interface Series {
  readonly label: string;
  readonly values: readonly number[];
}

export interface Panel {
  readonly title: string;
  readonly series: readonly Series[];
}

/** Where the axis has its lines, from its left end to its right one, and how they are labelled. */
export interface Axis {
  readonly ticks: readonly number[];
  readonly label: (tick: number) => string;
}

const width = 880;
const left = 150;
const right = 60;
const rowHeight = 18;
const titleHeight = 30;
const axisHeight = 34;
const colours = ['#1b6ca8', '#2a9d8f', '#5b5fc7', '#0b3954', '#d1495b', '#edae49'];

export function picture(caption: string, axis: Axis, panels: readonly Panel[]): string {
  const at = placeOn(axis);
  const parts: string[] = [];
  let top = titleHeight;
  for (const { title, series } of panels) {
    parts.push(text(12, top + 20, title, 'font-weight="bold"'));
    top += titleHeight;
    parts.push(
      ...series.flatMap((row, i) => drawRow(row, { at, index: i, top: top + i * rowHeight })),
    );
    top += series.length * rowHeight;
  }
  const grid = axis.ticks.flatMap((tick) => [
    `<line x1="${at(tick)}" x2="${at(tick)}" y1="${titleHeight}" y2="${top}" stroke="#ddd"/>`,
    text(at(tick), top + 18, axis.label(tick), 'text-anchor="middle"'),
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

/** Where a value lies on the axis; what is beyond an end lies at it. */
function placeOn({ ticks }: Axis): (value: number) => number {
  const [first = 1, last = 10] = [ticks[0], ticks.at(-1)];
  return (value) => {
    const share = Math.log(Math.max(value, first) / first) / Math.log(last / first);
    return Number((left + Math.min(share, 1) * (width - left - right)).toFixed(1));
  };
}

interface Row {
  readonly at: (value: number) => number;
  readonly index: number;
  readonly top: number;
}

function drawRow({ label, values }: Series, { at, index, top }: Row): string[] {
  const middle = top + rowHeight / 2;
  const colour = colours[index % colours.length] ?? 'black';
  const dots = values.map(
    (value) => `<circle cx="${at(value)}" cy="${middle}" r="3" fill="${colour}" opacity="0.45"/>`,
  );
  const median = at(quantile(values, 0.5));
  const bar = `y1="${top + 2}" y2="${top + rowHeight - 2}" stroke="${colour}" stroke-width="2"`;
  const line = values.length === 0 ? [] : [`<line x1="${median}" x2="${median}" ${bar}/>`];
  return [text(left - 10, middle + 4, label, 'text-anchor="end"'), ...dots, ...line];
}

function text(x: number, y: number, words: string, attributes: string): string {
  return `<text x="${x.toFixed(0)}" y="${y}" ${attributes}>${escaped(words)}</text>`;
}

function escaped(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
