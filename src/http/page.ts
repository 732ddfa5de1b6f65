/** The page at `/`: where to look, for whoever opens the port in a browser. */
import type { HttpFacts } from './facts.ts';
import type { HealthReport } from './health.ts';

export function pageHtml(facts: HttpFacts, ready: HealthReport): string {
  const title = escapeHtml(`Holdfast ${facts.version} on ${facts.node}`);
  const held = facts.vips.filter((vip) => vip.heldHere).map((vip) => vip.address);
  const state = ready.ok ? 'ready' : 'not ready';
  const holds = held.length === 0 ? 'holds no VIP' : `holds ${held.join(', ')}`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${title}</title>
<h1>${title}</h1>
<p>This node is ${state} and ${escapeHtml(holds)}.</p>
<ul>
<li><a href="/livez?verbose">/livez</a>: does the process live?</li>
<li><a href="/readyz?verbose">/readyz</a>: does the node serve its purpose?</li>
<li><a href="/metrics">/metrics</a>: for Prometheus</li>
</ul>
<p>The whole picture: <code>holdfast status</code>.</p>
</html>
`;
}

function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
