/**
 * `attach`: puts programs of somebody else at the head of both TCX chains of `eth0`, which let
 * everything pass and end the chain, as a CNI's may. `detach` takes them away again.
 */
import {
  attachTcxFirst,
  detachTcxById,
  loadClassifier,
  programName,
  queryTcx,
  Tcx,
} from '../../src/linux/bpf.ts';
import { assemble, exit, moveValue } from '../../src/linux/bpf-assembler.ts';
import { interfaceIndex } from '../../src/linux/libc.ts';

const name = 'lab_foreign';
const link = interfaceIndex('eth0');

for (const hook of [Tcx.ingress, Tcx.egress]) {
  if (process.argv[2] === 'attach') {
    attachTcxFirst(link, loadClassifier(assemble([moveValue(0, 0), exit()]), name), hook);
    continue;
  }
  for (const id of queryTcx(link, hook)?.ids ?? []) {
    if (programName(id) === name) detachTcxById(link, id, hook);
  }
}
