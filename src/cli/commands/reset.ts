/** `holdfast reset --yes`: makes this host what it was before `init` or `join`. */
import { connect } from 'node:net';
import { OperatingError } from '../../base/errors.ts';
import type { Paths } from '../../config/paths.ts';
import { type OutputOptions, pathsOf, print, type Register, withOutput } from '../context.ts';

export const registerReset: Register = (program, context, done) => {
  withOutput(program.command('reset').description('wipe this node: its data, keys and config'))
    .option('--yes', 'confirm: what is wiped does not come back')
    .action(
      done(async (options: OutputOptions & { readonly yes?: boolean }) => {
        const paths = pathsOf(options);
        if (options.yes !== true) throw unconfirmed(paths);
        if (await answers(paths.socket)) throw running(paths);
        const { lockNamespace } = await import('../../linux/netns-lock.ts');
        const { sweep, sweepIdle } = await import('../../linux/cleanup.ts');
        const { wipeNode } = await import('../prepare/node-dir.ts');
        const lock = await lockNamespace();
        try {
          const removed = [...sweep(), ...sweepIdle(), ...(await wipeNode(paths))];
          const lines = removed.map((what) => `removed ${what}\n`).join('');
          print(
            context,
            options,
            { removed },
            lines === '' ? 'there was nothing to wipe\n' : lines,
          );
        } finally {
          lock.release();
        }
        return 0;
      }),
    );
};

/** Whether an agent listens there, perhaps one in another network namespace. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function unconfirmed(paths: Paths): OperatingError {
  return new OperatingError({
    code: 'unconfirmed',
    message: `this would wipe the node in ${paths.dataDir}, and nothing was done`,
    hint: 'take it out of its cluster first with `holdfast leave`, then repeat with --yes',
    facts: { dir: paths.dataDir },
  });
}

function running(paths: Paths): OperatingError {
  return new OperatingError({
    code: 'agent-running',
    message: `an agent runs on ${paths.dataDir}`,
    hint: 'stop it first (systemctl stop holdfast)',
    facts: { dir: paths.dataDir },
  });
}
