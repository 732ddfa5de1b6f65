/** `holdfast leave`: takes this node out of its cluster; the others go on without it. */
import {
  dataDirSuffix,
  type OutputOptions,
  pathsOf,
  print,
  type Register,
  withAgent,
  withOutput,
} from '../context.ts';

export const registerLeave: Register = (program, context, done) => {
  withOutput(program.command('leave').description('take this node out of its cluster, for good'))
    .option('--force', 'even if the others lose their quorum')
    .action(
      done(async (options: OutputOptions & { readonly force?: boolean }) => {
        const { self, cluster } = await withAgent(context, options, async (agent) => {
          const status = await agent.status({ linearizable: false });
          context.terminal.err(`taking ${status.self.name} out of ${status.cluster.name} …\n`);
          await agent.removeMember({ name: status.self.name, force: options.force === true });
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
