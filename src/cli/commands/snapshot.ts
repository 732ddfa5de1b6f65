/** `holdfast snapshot save|restore`: the replicated state in a file, and a new cluster from one. */
import type { Command } from 'commander';
import { errorCode, OperatingError } from '../../base/errors.ts';
import type { SavedSnapshot } from '../../cluster/operations.ts';
import { defaultGrpcPort, defaultHttpPort, formatEndpoint } from '../../config/endpoint.ts';
import { namePattern, nameRule } from '../../config/names.ts';
import {
  type Context,
  type Done,
  dataDirSuffix,
  type OutputOptions,
  pathsOf,
  print,
  type Register,
  withAgent,
  withOutput,
} from '../context.ts';
import { readInput } from '../input.ts';
import type { RestoreRequest } from '../prepare/restore.ts';
import { span } from '../table.ts';
import { UsageError } from '../usage.ts';
import { endpointValue, interfaceValue, matchingValue, namesValue } from '../values.ts';

interface RestoreOptions extends OutputOptions {
  readonly fenced?: string;
  readonly name?: string;
  readonly interface?: string;
  readonly advertise?: string;
  readonly httpListen?: string;
  readonly caCert?: string;
  readonly caKey?: string;
  readonly yes?: boolean;
}

export const registerSnapshot: Register = (program, context, done) => {
  const snapshot = program.command('snapshot').description('save or restore the replicated state');

  withOutput(snapshot.command('save').description('write the state that this node has to a file'))
    .argument('<file>', '- for standard output')
    .action(
      done(async (file: string, options: OutputOptions) => {
        const saved = await savedState(context, options);
        const { snapshotText, writeSnapshot } = await import('../prepare/save.ts');
        const text = snapshotText(saved);
        if (file === '-') {
          context.terminal.out(text);
          return 0;
        }
        await writeSnapshot(file, text);
        const { index, term } = saved;
        const line = `saved the state up to entry ${index} (term ${term}) to ${file}\n`;
        print(context, options, { file, index, term }, line);
        return 0;
      }),
    );

  registerRestore(snapshot, context, done);
};

/** Saving needs no quorum, because that is when it is needed most; but it must be said. */
const behindWarning =
  'warning: this node hears no quorum: what was agreed on without it is not in the snapshot\n';

/** The agent's, or the disk's where there is no agent. */
async function savedState(context: Context, options: OutputOptions): Promise<SavedSnapshot> {
  try {
    return await withAgent(context, options, async (agent) => {
      const { cluster } = await agent.status({ linearizable: false });
      if (cluster.quorum === false) context.terminal.err(behindWarning);
      return agent.saveSnapshot();
    });
  } catch (error) {
    if (errorCode(error) !== 'agent-down') throw error;
    const { savedAtRest } = await import('../prepare/save.ts');
    return savedAtRest(pathsOf(options));
  }
}

function registerRestore(snapshot: Command, context: Context, done: Done): void {
  withOutput(snapshot.command('restore').description('begin a new cluster, here, from a file'))
    .argument('<file>', '- for standard input')
    .option('--fenced <names>', 'every other member of before: off for good')
    .option('--name <name>', 'of this node (default: as it was, or the host name)')
    .option('--interface <name>', 'of the VIPs on this host (default: that of their subnet)')
    .option('--advertise <host:port>', 'where the peers reach this host (default: by the VIP)')
    .option('--http-listen <host:port>', `livez, readyz, metrics (127.0.0.1:${defaultHttpPort})`)
    .option('--ca-cert <file>', 'use this CA (PEM); with --ca-key')
    .option('--ca-key <file>', 'the key of --ca-cert (PEM)')
    .option('--yes', 'confirm: what this node has now is replaced, and its cluster left')
    .action(
      done(async (file: string, options: RestoreOptions) => {
        const request = await requestOf(context, file, options);
        const paths = pathsOf(options);
        if (options.yes !== true) throw unconfirmed(paths.dataDir);
        const { restoreSnapshot } = await import('../prepare/restore.ts');
        const result = await restoreSnapshot(request, {
          paths,
          clock: context.clock,
          say: (line) => context.terminal.err(`${line}\n`),
        });
        const start =
          paths.given === null
            ? 'systemctl enable --now holdfast'
            : `holdfast agent${dataDirSuffix(paths)}`;
        const text = `A new ${result.clusterName} begins with ${result.nodeName} alone. Next, here:
  ${start}
${waitText(result.waitMs)}
On each further host \`holdfast reset --yes\`, and then the command that this prints here:
  holdfast token create --print-join-command
`;
        print(context, options, result, text);
        return 0;
      }),
    );
}

async function requestOf(
  context: Context,
  file: string,
  options: RestoreOptions,
): Promise<RestoreRequest> {
  const { advertise, caCert, caKey, fenced, httpListen, interface: link } = options;
  if ((caCert === undefined) !== (caKey === undefined)) {
    throw new UsageError('--ca-cert and --ca-key go together: give both or none');
  }
  return {
    fenced: fenced === undefined ? [] : namesValue('--fenced', fenced),
    name: await nameOf(options),
    interface: link === undefined ? null : interfaceValue('--interface', link),
    advertise:
      advertise === undefined ? null : endpointValue('--advertise', advertise, defaultGrpcPort),
    httpListen:
      httpListen === undefined
        ? null
        : formatEndpoint(endpointValue('--http-listen', httpListen, defaultHttpPort)),
    ca: caCert === undefined || caKey === undefined ? null : { certificate: caCert, key: caKey },
    text: await readInput(context.terminal, file),
  };
}

/** The name given, that of the node that is here, or the host's. */
async function nameOf(options: RestoreOptions): Promise<string> {
  if (options.name !== undefined) {
    return matchingValue('--name', options.name, namePattern, nameRule);
  }
  const { existingNode } = await import('../prepare/node-dir.ts');
  const existing = await existingNode(pathsOf(options));
  if (existing !== null) return existing.config.node.name;
  const { defaultNodeName } = await import('../prepare/host.ts');
  return defaultNodeName();
}

function waitText(waitMs: number): string {
  if (waitMs === 0) return '';
  return `It waits ${span(waitMs)} before it takes the VIP: so long an earlier lease could last.\n`;
}

function unconfirmed(dir: string): OperatingError {
  return new OperatingError({
    code: 'unconfirmed',
    message:
      `this would begin a new cluster in ${dir} with the saved state, and nothing was done; ` +
      'where a former member still runs, two hosts may hold the VIP',
    hint: 'switch the others off for good, then repeat it with --yes',
    facts: { dir },
  });
}
