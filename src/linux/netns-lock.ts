/**
 * One agent per network namespace. A name in the abstract Unix namespace belongs to one process of
 * the network namespace and goes with it, however it ends: no file is left behind, and agents in
 * namespaces of their own do not meet.
 */
import { createServer } from 'node:net';
import { errorCode, OperatingError } from '../base/errors.ts';

const NAME = '\0holdfast-agent';

export interface NamespaceLock {
  release(): void;
}

/** Takes the lock; throws `agent-running` where another process has it. */
export function lockNamespace(): Promise<NamespaceLock> {
  return new Promise((resolve, reject) => {
    // Whoever connects finds a door that is closed at once: there is nothing to talk about.
    const server = createServer((socket) => socket.destroy());
    server.once('error', (cause) => {
      if (errorCode(cause) !== 'EADDRINUSE') reject(cause);
      else reject(alreadyRunning(cause));
    });
    server.listen(NAME, () => {
      server.unref();
      resolve({ release: () => void server.close() });
    });
  });
}

function alreadyRunning(cause: unknown): OperatingError {
  return new OperatingError({
    code: 'agent-running',
    message: 'an agent runs in this network namespace',
    hint: 'stop it first (systemctl stop holdfast)',
    cause,
  });
}
