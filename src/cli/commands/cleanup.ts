/**
 * `holdfast cleanup`: removes what an agent that is gone may have left in the kernel. It needs no
 * state, touches nothing that others made, and is what systemd runs after each stop of the agent.
 */
import { type OutputOptions, print, type Register, withOutput } from '../context.ts';

export const registerCleanup: Register = (program, context, done) => {
  withOutput(
    program.command('cleanup').description('remove what is left of ours in the kernel'),
  ).action(
    done(async (options: OutputOptions) => {
      const { lockNamespace } = await import('../../linux/netns-lock.ts');
      const { sweep } = await import('../../linux/cleanup.ts');
      const lock = await lockNamespace();
      try {
        const removed = sweep();
        const lines = removed.map((what) => `removed ${what}\n`).join('');
        print(context, options, { removed }, lines === '' ? 'nothing was left\n' : lines);
      } finally {
        lock.release();
      }
      return 0;
    }),
  );
};
