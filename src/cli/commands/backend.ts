/** `holdfast backend add|remove|drain|undrain|list`: the API servers behind the frontends. */
import { OperatingError } from '../../base/errors.ts';
import { canonicalIp } from '../../base/ip.ts';
import { parseEndpoint } from '../../config/endpoint.ts';
import { type Context, type OutputOptions, print, type Register, withOutput } from '../context.ts';
import { type EditOptions, editSpec } from '../spec-change.ts';
import { addBackend, drainBackend, removeBackend } from '../spec-edit.ts';
import { backendTable } from '../status-text.ts';
import { UsageError } from '../usage.ts';
import { choiceValue, countValue } from '../values.ts';
import { readStatus } from './status.ts';

interface BackendOptions extends EditOptions {
  readonly frontend?: string;
  readonly weight: string;
  readonly mode: string;
}

const maxWeight = 256;
const modes = ['masquerade', 'direct', 'tunnel'] as const;

export const registerBackend: Register = (program, context, done) => {
  const backend = program
    .command('backend')
    .description('add, remove, drain or list backends; members need none of it');

  withOutput(backend.command('add').description('balance to a further API server'))
    .argument('<address:port>')
    .option('--frontend <name>', 'for which frontend (default: the only one)')
    .option('--weight <n>', `its share beside the others, 1 to ${maxWeight}`, '1')
    .option(
      '--mode <name>',
      `${modes.join(', ')}: by the others packets stay as they are`,
      modes[0],
    )
    .option('--dry-run', 'show what would change, and change nothing')
    .action(
      done(async (given: string, options: BackendOptions) => {
        const weight = countValue('--weight', options.weight, maxWeight);
        const mode = choiceValue('--mode', options.mode, modes);
        const { frontend = null } = options;
        const added = { ...backendAt(given), weight, mode };
        await editSpec(context, options, addBackend(frontend, added));
        return 0;
      }),
    );

  withOutput(backend.command('remove').description('no longer balance to an API server'))
    .argument('<address[:port]>')
    .option('--frontend <name>', 'for which frontend (default: all that have it)')
    .option('--yes', 'confirm: remove even the last backend')
    .option('--dry-run', 'show what would change, and change nothing')
    .action(
      done(async (given: string, options: BackendOptions) => {
        await refuseMember(context, options, given);
        await editSpec(context, options, removeBackend(options.frontend ?? null, given));
        return 0;
      }),
    );

  for (const draining of [true, false]) {
    const name = draining ? 'drain' : 'undrain';
    const what = draining ? 'give a backend no new connections' : 'give it connections again';
    withOutput(backend.command(name).description(what))
      .argument('<backend>', 'name of a member, or address[:port]')
      .option('--frontend <name>', 'for which frontend (default: all that have it)')
      .option('--yes', 'confirm: drain even the last backend')
      .option('--dry-run', 'show what would change, and change nothing')
      .action(
        done(async (given: string, options: BackendOptions) => {
          const memberNames = await memberNamesOf(context, options);
          const frontend = options.frontend ?? null;
          const edit = drainBackend({ frontend, backend: given, draining, memberNames });
          await editSpec(context, options, edit);
          return 0;
        }),
      );
  }

  withOutput(backend.command('list').description('list the backends as this node sees them'))
    .option('--frontend <name>', 'of which frontend (default: all)')
    .action(
      done(async (options: OutputOptions & { readonly frontend?: string }) => {
        const { frontends } = await readStatus(context, options);
        const wanted = frontends.filter(({ name }) => (options.frontend ?? name) === name);
        const text = wanted.map((each) => `${each.name}\n${backendTable(each)}`).join('\n');
        print(context, options, { frontends: wanted }, text);
        return 0;
      }),
    );
};

function backendAt(given: string): { readonly address: string; readonly port: number } {
  // A port is always given: what a backend listens on cannot be guessed.
  const endpoint = /:\d+$/.test(given) ? parseEndpoint(given, 0) : null;
  const address = endpoint === null ? null : canonicalIp(endpoint.host);
  if (endpoint !== null && address !== null) return { address, port: endpoint.port };
  throw new UsageError(`a backend must be ADDRESS:PORT, and is ${JSON.stringify(given)}`);
}

async function memberNamesOf(context: Context, options: BackendOptions): Promise<string[]> {
  const { members } = await readStatus(context, options);
  return members.map((member) => member.name);
}

/** Members are backends by being members, which people forget. */
async function refuseMember(
  context: Context,
  options: BackendOptions,
  given: string,
): Promise<void> {
  if (canonicalIp(given) !== null || given.includes(':')) return;
  if (!(await memberNamesOf(context, options)).includes(given)) return;
  throw new OperatingError({
    code: 'backend-is-member',
    message: `${given} is a backend because it is a member`,
    hint: `give it no new connections with \`holdfast backend drain ${given}\``,
  });
}
