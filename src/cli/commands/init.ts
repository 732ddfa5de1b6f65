/** `holdfast init`: makes this host the first of a new cluster, and prints how the others join. */
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
import type { FoundRequest } from '../prepare/found.ts';
import type { ExistingNode } from '../prepare/node-dir.ts';
import { shortTime } from '../table.ts';
import { UsageError } from '../usage.ts';
import {
  addressValue,
  choiceValue,
  endpointValue,
  interfaceValue,
  matchingValue,
  portValue,
} from '../values.ts';

interface InitOptions extends OutputOptions {
  readonly vip: string;
  readonly vipPort: string;
  readonly backendPort: string;
  readonly frontend: readonly string[];
  readonly interface?: string;
  readonly name?: string;
  readonly clusterName: string;
  readonly advertise?: string;
  readonly httpListen?: string;
  readonly tokenFile?: string;
  readonly caCert?: string;
  readonly caKey?: string;
  readonly peers?: string;
}

/** What `init -o json` prints; scripts depend on it. */
interface InitResult {
  /** Null where an earlier run printed it: only its hash is kept. */
  readonly token: string | null;
  readonly caHash: string;
  readonly joinCommand: string | null;
  readonly clusterId: string;
  readonly clusterName: string;
  readonly nodeName: string;
  readonly dataDir: string;
  readonly already: boolean;
}

export const registerInit: Register = (program, context, done) => {
  withOutput(program.command('init').description('make this host the first of a new cluster'))
    .requiredOption('--vip <addresses>', 'the address to keep; several with commas between')
    .option('--vip-port <port>', 'the port on the VIP', '6443')
    .option('--backend-port <port>', 'the port of the API server on every member', '6443')
    .option('--frontend <port>', 'a further port, PORT[:tcp|:https]; repeatable', listed, [])
    .option('--interface <name>', 'of the VIP on this host (default: that of its subnet)')
    .option('--name <name>', 'of this node (default: the host name)')
    .option('--cluster-name <name>', 'of the cluster', 'holdfast')
    .option('--advertise <host:port>', 'where the peers reach this host (default: by the VIP)')
    .option('--http-listen <host:port>', `livez, readyz, metrics (127.0.0.1:${defaultHttpPort})`)
    .option('--token-file <file>', 'use this join token; - for standard input')
    .option('--ca-cert <file>', 'use this CA (PEM); with --ca-key')
    .option('--ca-key <file>', 'the key of --ca-cert (PEM)')
    .option('--peers <hosts>', 'hosts that may run this cluster already: refuse if one does')
    .action(
      done(async (options: InitOptions) => {
        const paths = pathsOf(options);
        const { existingNode } = await import('../prepare/node-dir.ts');
        const request = await requestOf(context, options);
        const existing = await existingNode(paths);
        if (existing !== null) {
          const result = await already(existing, request, paths);
          print(context, options, result, alreadyText(result));
          return 0;
        }
        const { foundCluster } = await import('../prepare/found.ts');
        const founded = await foundCluster(request, {
          paths,
          clock: context.clock,
          say: (line) => context.terminal.err(`${line}\n`),
        });
        const { config, token, caHash } = founded;
        const joinCommand = joinCommandOf(config.advertise, token, caHash);
        const result: InitResult = {
          token,
          caHash,
          joinCommand,
          clusterId: config.cluster.id,
          clusterName: config.cluster.name,
          nodeName: config.node.name,
          dataDir: paths.dataDir,
          already: false,
        };
        print(context, options, result, foundedText(result, paths, founded.tokenExpires));
        return 0;
      }),
    );
};

async function requestOf(context: Context, options: InitOptions): Promise<FoundRequest> {
  const { defaultNodeName } = await import('../prepare/host.ts');
  const { givenToken } = await import('../prepare/secrets.ts');
  const { tokenFile, caCert, caKey, httpListen } = options;
  if ((caCert === undefined) !== (caKey === undefined)) {
    throw new UsageError('--ca-cert and --ca-key go together: give both or none');
  }
  const vips = options.vip.split(',').map((text) => addressValue('--vip', text.trim()));
  if (new Set(vips).size !== vips.length) throw new UsageError('--vip names an address twice');
  const frontends = options.frontend.map(frontendValue);
  const vipPort = portValue('--vip-port', options.vipPort);
  const ports = [vipPort, ...frontends.map(({ port }) => port)];
  if (new Set(ports).size !== ports.length) {
    throw new UsageError('--frontend and --vip-port name the same port twice');
  }
  return {
    clusterName: matchingValue('--cluster-name', options.clusterName, namePattern, nameRule),
    name: matchingValue('--name', options.name ?? defaultNodeName(), namePattern, nameRule),
    vips,
    vipPort,
    backendPort: portValue('--backend-port', options.backendPort),
    frontends,
    interface:
      options.interface === undefined ? null : interfaceValue('--interface', options.interface),
    advertise:
      options.advertise === undefined
        ? null
        : endpointValue('--advertise', options.advertise, defaultGrpcPort),
    httpListen:
      httpListen === undefined
        ? null
        : formatEndpoint(endpointValue('--http-listen', httpListen, defaultHttpPort)),
    token: await givenToken(context, tokenFile === undefined ? {} : { tokenFile }),
    ca: caCert === undefined || caKey === undefined ? null : { certificate: caCert, key: caKey },
    peers: (options.peers ?? '')
      .split(',')
      .filter((text) => text.trim() !== '')
      .map((text) => endpointValue('--peers', text.trim(), defaultGrpcPort)),
  };
}

/** The same init again is done already; another one is refused. */
async function already(
  { config, origin }: ExistingNode,
  request: FoundRequest,
  paths: Paths,
): Promise<InitResult> {
  const { differences } = await import('../prepare/node-dir.ts');
  const { originOf } = await import('../prepare/found.ts');
  const { readPki } = await import('../../pki/files.ts');
  const [difference] = differences(origin, originOf(request));
  if (difference !== undefined) {
    throw new OperatingError({
      code: 'already-member',
      message:
        `this host is already a member of ${config.cluster.name} as ${config.node.name}, ` +
        `made otherwise: ${difference}`,
      hint:
        'change a cluster with `holdfast apply`; to begin anew, wipe this host with ' +
        `\`holdfast reset --yes${dataDirSuffix(paths)}\``,
      facts: { clusterId: config.cluster.id, nodeName: config.node.name },
    });
  }
  const { hash: caHash } = readPki(paths.pki).ca;
  const { token } = request;
  return {
    token,
    caHash,
    joinCommand: token === null ? null : joinCommandOf(config.advertise, token, caHash),
    clusterId: config.cluster.id,
    clusterName: config.cluster.name,
    nodeName: config.node.name,
    dataDir: paths.dataDir,
    already: true,
  };
}

function joinCommandOf(advertise: string, token: string, caHash: string): string {
  return `holdfast join ${advertise} --token ${token} --ca-hash ${caHash}`;
}

function foundedText(result: InitResult, paths: Paths, tokenExpires: string): string {
  const agent =
    paths.given === null
      ? 'systemctl enable --now holdfast'
      : `holdfast agent${dataDirSuffix(paths)}`;
  return `Cluster ${result.clusterName} is prepared, with ${result.nodeName} as its first member.

Now start it on this host:
  ${agent}

Then, on each further host:
  ${result.joinCommand}

The token lives until ${shortTime(tokenExpires)}; later ones come from
  holdfast token create --print-join-command
`;
}

function alreadyText({ clusterName, nodeName }: InitResult): string {
  return `already a member of ${clusterName} as ${nodeName}; nothing was changed\n`;
}

/** `PORT[:tcp|:https]`; an https port is probed as an API server. */
function frontendValue(text: string): { readonly port: number; readonly check: 'tcp' | 'https' } {
  const [port = '', check = 'tcp', ...rest] = text.split(':');
  if (rest.length > 0) throw new UsageError(`--frontend must be PORT[:tcp|:https], not ${text}`);
  return {
    port: portValue('--frontend', port),
    check: choiceValue('--frontend PORT:', check, ['tcp', 'https']),
  };
}

/** Commander's way of collecting a flag that may be given several times. */
function listed(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}
