/** `holdfast leave`: takes this node out of its cluster; the others go on without it. */
import { sleep } from '../../base/clock.ts';
import { errorCode } from '../../base/errors.ts';
import type { Operations } from '../../cluster/operations.ts';
import {
  type Context,
  dataDirSuffix,
  type OutputOptions,
  pathsOf,
  print,
  type Register,
  withAgent,
  withOutput,
} from '../context.ts';

/** How often, and at what interval, the agent is asked whether it is out. */
const looks = 20;
const lookEveryMs = 150;

export const registerLeave: Register = (program, context, done) => {
  withOutput(program.command('leave').description('take this node out of its cluster, for good'))
    .option('--force', 'even if the others lose their quorum')
    .action(
      done(async (options: OutputOptions & { readonly force?: boolean }) => {
        const { self, cluster } = await withAgent(context, options, async (agent) => {
          const status = await agent.status({ linearizable: false });
          context.terminal.err(`taking ${status.self.name} out of ${status.cluster.name} …\n`);
          await remove(context, agent, status.self, options.force === true);
          return status;
        });
        const wipe = `holdfast reset --yes${dataDirSuffix(pathsOf(options))}`;
        print(
          context,
          options,
          { left: cluster.name, clusterId: cluster.id, nodeName: self.name },
          `${self.name} has left ${cluster.name}. Next:\n` +
            `  systemctl disable --now holdfast && ${wipe}\n`,
        );
        return 0;
      }),
    );
};

/**
 * A leader hangs up on whom it has removed, so its answer may get lost on the way; what this node
 * then knows of itself settles it.
 */
async function remove(
  context: Context,
  agent: Operations,
  self: { readonly id: string; readonly name: string },
  force: boolean,
): Promise<void> {
  try {
    await agent.removeMember({ name: self.name, force });
  } catch (error) {
    if (errorCode(error) !== 'outcome-unknown') throw error;
    for (let look = 0; look < looks; look++) {
      const { members } = await agent.status({ linearizable: false });
      if (!members.some(({ id }) => id === self.id)) return;
      await sleep(context.clock, lookEveryMs);
    }
    throw error;
  }
}
