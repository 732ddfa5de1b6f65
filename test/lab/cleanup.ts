/** `make cleanup`: takes down the labs of processes that were killed before they could. */
import { requireRoot } from './lab.ts';
import { sweepDeadLabs } from './teardown.ts';

requireRoot();
const swept = sweepDeadLabs();
console.log(swept.length === 0 ? 'nothing was left behind' : `removed:\n${swept.join('\n')}`);
