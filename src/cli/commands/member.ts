/** `holdfast member …`: who is in the cluster, what each of them is to do, and who may go. */
import type { Command } from 'commander';
import type { MemberSetRequest } from '../../cluster/operations.ts';
import { defaultGrpcPort, formatEndpoint } from '../../config/endpoint.ts';
import {
  type CommonOptions,
  type Context,
  type Done,
  type OutputOptions,
  print,
  type Register,
  withAgent,
  withOutput,
} from '../context.ts';
import { memberTable } from '../status-text.ts';
import { UsageError } from '../usage.ts';
import { endpointValue, integerValue } from '../values.ts';
import { readStatus } from './status.ts';

interface SetOptions extends OutputOptions {
  readonly priority?: string;
  readonly address?: string;
}

interface ForceOptions extends OutputOptions {
  readonly force?: boolean;
}

/** Beyond this a preference changes nothing more. */
const mostPriority = 10;

export const registerMember: Register = (program, context, done) => {
  const member = program.command('member').description('list, change, remove or ask about members');

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
      done(async (name: string, options: ForceOptions) => {
        context.terminal.err(`removing ${name} …\n`);
        const result = await withAgent(context, options, (agent) =>
          agent.removeMember({ name, force: options.force === true }),
        );
        print(context, options, result, `${result.removed} is no longer a member\n`);
        return 0;
      }),
    );

  registerChanges(member, context, done);

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

function registerChanges(member: Command, context: Context, done: Done): void {
  withOutput(member.command('promote').description('let a learner vote now, also as an even one'))
    .argument('<name>')
    .action(
      done(async (name: string, options: OutputOptions) => {
        const result = await withAgent(context, options, (agent) => agent.promoteMember(name));
        for (const warning of result.warnings) context.terminal.err(`warning: ${warning}\n`);
        const how = result.changed ? 'is a voter now' : 'was a voter already';
        print(context, options, result, `${name} ${how}; voters: ${result.voters}\n`);
        return 0;
      }),
    );

  withOutput(member.command('set').description('prefer a member as leader, or say where it moved'))
    .argument('<name>')
    .option('--priority <n>', `-${mostPriority} to ${mostPriority}; higher leads rather (0)`)
    .option('--address <host:port>', 'where the others reach a member that moved')
    .action(
      done(async (name: string, options: SetOptions) => {
        const { priority, address } = options;
        if (priority === undefined && address === undefined) {
          throw new UsageError('say what to set: --priority N or --address HOST[:PORT]');
        }
        return change(context, options, {
          ...{ name, draining: null, force: false },
          priority:
            priority === undefined
              ? null
              : integerValue('--priority', priority, -mostPriority, mostPriority),
          address:
            address === undefined
              ? null
              : formatEndpoint(endpointValue('--address', address, defaultGrpcPort)),
        });
      }),
    );

  withOutput(
    member.command('drain').description('move the VIP away, and keep it away; it votes on'),
  )
    .argument('<name>')
    .option('--force', 'even if nobody else could hold the VIP')
    .action(
      done(async (name: string, options: ForceOptions) => {
        const force = options.force === true;
        const nothing = { priority: null, address: null };
        return change(context, options, { name, ...nothing, draining: true, force });
      }),
    );

  withOutput(member.command('undrain').description('let a drained member hold the VIP again'))
    .argument('<name>')
    .action(
      done(async (name: string, options: OutputOptions) => {
        const nothing = { priority: null, address: null };
        return change(context, options, { name, ...nothing, draining: false, force: false });
      }),
    );
}

async function change(
  context: Context,
  options: OutputOptions,
  request: MemberSetRequest,
): Promise<0> {
  const result = await withAgent(context, options, (agent) => agent.setMember(request));
  const text = result.changed ? `${result.name} is changed` : `${result.name} was so already`;
  print(context, options, result, `${text}\n`);
  return 0;
}
