/** `holdfast join PEER`: makes this host a further member of a cluster; its agent does the rest. */
import { OperatingError } from '../../base/errors.ts';
import { defaultGrpcPort, defaultHttpPort, formatEndpoint } from '../../config/endpoint.ts';
import { namePattern, nameRule } from '../../config/names.ts';
import type { Paths } from '../../config/paths.ts';
import {
  type Context,
  dataDirSuffix,
  type OutputOptions,
  pathsOf,
  print,
  type Register,
  withOutput,
} from '../context.ts';
import type { EnterRequest } from '../prepare/enter.ts';
import type { ExistingNode } from '../prepare/node-dir.ts';
import { UsageError } from '../usage.ts';
import { choiceValue, endpointValue, interfaceValue, matchingValue } from '../values.ts';

interface JoinOptions extends OutputOptions {
  readonly token?: string;
  readonly tokenFile?: string;
  readonly caHash: string;
  readonly name?: string;
  readonly advertise?: string;
  readonly interface?: string;
  readonly httpListen?: string;
  readonly role: string;
  readonly replace?: string;
}

/** What `join -o json` prints; scripts depend on it. */
interface JoinResult {
  readonly clusterId: string;
  readonly clusterName: string;
  readonly nodeId: string;
  readonly nodeName: string;
  readonly dataDir: string;
  readonly already: boolean;
}

export const registerJoin: Register = (program, context, done) => {
  withOutput(program.command('join').description('make this host a further member of a cluster'))
    .argument('<peer>', `HOST[:PORT] of any member (port ${defaultGrpcPort})`)
    .option('--token <token>', 'a join token; better kept in a file or in HOLDFAST_TOKEN')
    .option('--token-file <file>', 'a file with the token; - for standard input')
    .requiredOption('--ca-hash <hash>', 'sha256:HEX of the cluster’s CA, as init printed it')
    .option('--name <name>', 'of this node (default: the host name)')
    .option(
      '--advertise <host:port>',
      'where the peers reach this host (default: as it reaches them)',
    )
    .option('--interface <name>', 'of the VIPs on this host (default: that of their subnet)')
    .option('--http-listen <host:port>', `livez, readyz, metrics (127.0.0.1:${defaultHttpPort})`)
    .option('--role <role>', 'voter, or witness: votes and never holds a VIP', 'voter')
    .option('--replace <name>', 'take the place of a member whose disk is lost')
    .action(
      done(async (peer: string, options: JoinOptions) => {
        const paths = pathsOf(options);
        const { existingNode } = await import('../prepare/node-dir.ts');
        const request = await requestOf(context, peer, options);
        const existing = await existingNode(paths);
        if (existing !== null) {
          const result = await already(existing, request, paths);
          print(
            context,
            options,
            result,
            `already a member of ${result.clusterName} as ${result.nodeName}; ` +
              'nothing was changed\n',
          );
          return 0;
        }
        const { enterCluster } = await import('../prepare/enter.ts');
        const entered = await enterCluster(requireToken(request), {
          paths,
          clock: context.clock,
          say: (line) => context.terminal.err(`${line}\n`),
        });
        const result = resultOf(entered.config, paths, false);
        print(context, options, result, enteredText(result, paths));
        return 0;
      }),
    );
};

type DraftRequest = Omit<EnterRequest, 'token'> & { readonly token: string | null };

async function requestOf(
  context: Context,
  peer: string,
  options: JoinOptions,
): Promise<DraftRequest> {
  const { defaultNodeName } = await import('../prepare/host.ts');
  const { givenToken } = await import('../prepare/secrets.ts');
  const { advertise, httpListen, replace } = options;
  const role = choiceValue('--role', options.role, ['voter', 'witness']);
  if (role === 'witness' && options.interface !== undefined) {
    throw new UsageError('--interface contradicts --role witness, which never holds a VIP');
  }
  return {
    peer: endpointValue('the peer', peer, defaultGrpcPort),
    token: await givenToken(context, options),
    caHash: matchingValue(
      '--ca-hash',
      options.caHash.toLowerCase(),
      /^sha256:[0-9a-f]{64}$/,
      'sha256: and 64 hexadecimal digits',
    ),
    name: matchingValue('--name', options.name ?? defaultNodeName(), namePattern, nameRule),
    role,
    advertise:
      advertise === undefined ? null : endpointValue('--advertise', advertise, defaultGrpcPort),
    interface:
      options.interface === undefined ? null : interfaceValue('--interface', options.interface),
    httpListen:
      httpListen === undefined
        ? null
        : formatEndpoint(endpointValue('--http-listen', httpListen, defaultHttpPort)),
    replace:
      replace === undefined ? null : matchingValue('--replace', replace, namePattern, nameRule),
  };
}

function requireToken(request: DraftRequest): EnterRequest {
  const { token } = request;
  if (token !== null) return { ...request, token };
  throw new UsageError('a token is needed: --token, --token-file or HOLDFAST_TOKEN');
}

/** The same join again is done already; another one is refused. */
async function already(
  { config, origin }: ExistingNode,
  request: DraftRequest,
  paths: Paths,
): Promise<JoinResult> {
  const { readPki } = await import('../../pki/files.ts');
  const { hash } = readPki(paths.pki).ca;
  const reset = `holdfast reset --yes${dataDirSuffix(paths)}`;
  const begin = `to begin anew, \`holdfast leave\` and \`${reset}\``;
  const here = `this host is already a member of ${config.cluster.name} as ${config.node.name}`;
  const facts = { clusterId: config.cluster.id, nodeName: config.node.name };
  if (hash !== request.caHash) {
    const message = `${here}, which is another cluster: its CA is ${hash}`;
    throw new OperatingError({ code: 'other-cluster', message, hint: begin, facts });
  }
  const { differences } = await import('../prepare/node-dir.ts');
  const { originOf } = await import('../prepare/enter.ts');
  const wanted = originOf({ ...request, token: '' });
  // Whoever runs the join command on the founder too has the same cluster in mind.
  const founder = origin.command === 'init' && config.node.name === request.name;
  const [difference] = founder ? [] : differences(origin, wanted);
  if (difference !== undefined) {
    const message = `${here}, made otherwise: ${difference}`;
    throw new OperatingError({ code: 'already-member', message, hint: begin, facts });
  }
  return resultOf(config, paths, true);
}

function resultOf(config: ExistingNode['config'], paths: Paths, already: boolean): JoinResult {
  return {
    clusterId: config.cluster.id,
    clusterName: config.cluster.name,
    nodeId: config.node.id,
    nodeName: config.node.name,
    dataDir: paths.dataDir,
    already,
  };
}

function enteredText(result: JoinResult, paths: Paths): string {
  const agent =
    paths.given === null
      ? 'systemctl enable --now holdfast'
      : `holdfast agent${dataDirSuffix(paths)}`;
  return `${result.nodeName} is admitted to ${result.clusterName}. Now start it on this host:
  ${agent}
`;
}
