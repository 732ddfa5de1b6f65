/**
 * Whether one of the hosts that `init --peers` names runs a cluster already: then this host must
 * join that one. Hosts that do not answer are the normal case: they come later.
 */
import { connect } from 'node:tls';
import type { Clock } from '../../base/clock.ts';
import { type Endpoint, formatEndpoint } from '../../config/endpoint.ts';
import { inspectNodeCertificate } from '../../pki/inspect.ts';

/** A member on the same site answers in milliseconds; a host that is off never does. */
const answerWithinMs = 1500;

export interface Rival {
  readonly peer: string;
  readonly clusterId: string;
}

/** The first of `peers` that turns out to be a member of some cluster; null if none does. */
export async function findRival(peers: readonly Endpoint[], clock: Clock): Promise<Rival | null> {
  const answers = await Promise.all(peers.map((peer) => clusterAt(peer, clock)));
  return answers.find((rival) => rival !== null) ?? null;
}

function clusterAt(peer: Endpoint, clock: Clock): Promise<Rival | null> {
  return new Promise((resolve) => {
    // Nothing is sent and nothing is believed: the certificate's name is all that is read.
    const socket = connect({ host: peer.host, port: peer.port, rejectUnauthorized: false });
    const end = (rival: Rival | null) => {
      timer.cancel();
      socket.destroy();
      resolve(rival);
    };
    const timer = clock.after(answerWithinMs, () => end(null));
    socket.on('error', () => end(null));
    socket.once('secureConnect', () => {
      const certificate = socket.getPeerX509Certificate();
      const node = certificate === undefined ? null : inspectNodeCertificate(certificate);
      end(node === null ? null : { peer: formatEndpoint(peer), clusterId: node.clusterId });
    });
  });
}
