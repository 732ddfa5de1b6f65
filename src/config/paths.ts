/**
 * Where one node keeps its things. With `--data-dir` all of them are in that directory, so that
 * several nodes fit on one machine; without it they are where Debian wants them.
 */
import { join, resolve } from 'node:path';

export interface Paths {
  readonly dataDir: string;
  /** This node's configuration. */
  readonly config: string;
  /** The admin socket of the running agent. */
  readonly socket: string;
  readonly pki: string;
  readonly raft: string;
  /** As given; null for the defaults. Repeated in commands that we tell people to run. */
  readonly given: string | null;
}

export const defaultDataDir = '/var/lib/holdfast';

/** @param dataDir the operator's `--data-dir`, relative to the working directory; null for none */
export function pathsFor(dataDir: string | null): Paths {
  const base = dataDir === null ? defaultDataDir : resolve(dataDir);
  return {
    dataDir: base,
    config: dataDir === null ? '/etc/holdfast/agent.yaml' : join(base, 'agent.yaml'),
    socket: dataDir === null ? '/run/holdfast/agent.sock' : join(base, 'agent.sock'),
    pki: join(base, 'pki'),
    raft: join(base, 'raft'),
    given: dataDir,
  };
}
