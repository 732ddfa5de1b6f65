/** `holdfast member list|remove|can-stop`: who is in the cluster, and who may go. */
import {
  type CommonOptions,
  type OutputOptions,
  print,
  type Register,
  withAgent,
  withOutput,
} from '../context.ts';
import { memberTable } from '../status-text.ts';
import { readStatus } from './status.ts';

export const registerMember: Register = (program, context, done) => {
  const member = program.command('member').description('list, remove or ask about members');

  withOutput(member.command('list').description('list the members as this node knows them')).action(
    done(async (options: OutputOptions) => {
      const { members, view } = await readStatus(context, options);
      print(context, options, { view, members }, memberTable(members));
      return 0;
    }),
  );

  withOutput(member.command('remove').description('take a member out of the cluster, for good'))
    .argument('<name>')
    .option('--force', 'even if the quorum is lost with it')
    .action(
      done(async (name: string, options: OutputOptions & { readonly force?: boolean }) => {
        context.terminal.err(`removing ${name} …\n`);
        const result = await withAgent(context, options, (agent) =>
          agent.removeMember({ name, force: options.force === true }),
        );
        print(context, options, result, `${result.removed} is no longer a member\n`);
        return 0;
      }),
    );

  withOutput(member.command('can-stop').description('exit status 0 if the member may stop now'))
    .argument('[name]', 'default: this node')
    .action(
      done(async (name: string | undefined, options: CommonOptions) => {
        const verdict = await withAgent(context, options, (agent) => agent.canStop(name ?? null));
        print(context, options, verdict, `${verdict.ok ? 'yes' : 'no'}: ${verdict.reason}\n`);
        return verdict.ok ? 0 : 1;
      }),
    );
};
