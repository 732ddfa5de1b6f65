/**
 * The import law: what each room may import, and why the wall stands there. The name of a room
 * allows all of it, a path one file, and `type ` in front the types alone. Packages and `node:`
 * modules are named as they are imported.
 */

export interface Room {
  /** Folder or file below src/ to which the row applies; the longest match counts. */
  readonly room: string;
  readonly may: readonly string[];
  readonly why: string;
}

/** In every room: paths are text, and a room may always import itself. */
export const everywhere: readonly string[] = ['node:path', 'node:url'];

export const law: readonly Room[] = [
  {
    room: 'base',
    may: ['node:assert', 'node:perf_hooks'],
    why: 'leaves: everybody stands on them, so they stand on nothing',
  },
  { room: 'base/log.ts', may: ['pino'], why: 'the one place that knows the logging library' },
  {
    room: 'raft',
    may: ['base/assert.ts', 'type base'],
    why: 'same input, same output, so that the simulator runs millions of steps',
  },
  {
    room: 'storage',
    may: [
      'base',
      'raft/types.ts',
      'raft/message.ts',
      'type cluster',
      'proto/gen/state.ts',
      'level',
      'node:fs',
      'node:fs/promises',
      'node:os',
      'node:zlib',
    ],
    why: 'stores what it is given; what the bytes mean is decided elsewhere',
  },
  {
    room: 'config',
    may: ['base', 'yaml', 'zod', 'node:fs', 'node:os', 'package.json', 'lb/worker.ts'],
    why: 'the only reader of the environment and of the local file: validated once, then frozen',
  },
  {
    room: 'cluster',
    may: ['base', 'raft', 'proto/gen/state.ts', 'zod', '@bufbuild/protobuf/wire'],
    why: 'runs unchanged in the simulator, so the world comes in through the ports it declares',
  },
  {
    room: 'pki',
    may: [
      'base',
      'type cluster',
      '@peculiar/x509',
      'reflect-metadata',
      'node:crypto',
      'node:fs',
      'node:fs/promises',
    ],
    why: 'keys and certificates in one place that can be read in one sitting',
  },
  {
    room: 'rpc',
    may: [
      'base',
      'raft/types.ts',
      'raft/message.ts',
      'cluster',
      'pki',
      'proto/gen/raft.ts',
      'proto/gen/admin.ts',
      'proto/gen/join.ts',
      '@grpc/grpc-js',
      '@bufbuild/protobuf/wire',
      'node:tls',
      'node:net',
      'node:fs',
      'node:fs/promises',
      'node:crypto',
      'node:stream',
    ],
    why: 'the only importer of grpc: whatever comes off the wire is validated here',
  },
  { room: 'vip', may: ['base'], why: 'usable with any owner of leadership, testable without root' },
  {
    room: 'lb',
    may: [
      'base',
      'node:net',
      'node:tls',
      'node:http',
      'node:https',
      'node:dgram',
      'http-proxy-3',
      'node:fs',
      'node:crypto',
      'node:stream',
    ],
    why: 'balances whatever it is told, in a process that knows neither raft nor the VIP',
  },
  {
    room: 'lb/worker.ts',
    may: [
      'linux/process.ts',
      'linux/priority.ts',
      'linux/stream-sockets.ts',
      'linux/datagram-sockets.ts',
      'base',
      'node:fs',
      'node:crypto',
    ],
    why: 'a process of its own: it must die with its parent and give up real-time priority',
  },
  {
    room: 'lb/carrier-start.ts',
    may: ['base', 'linux/wakeup.ts', 'node:worker_threads'],
    why: 'where the second thread of a worker begins',
  },
  {
    room: 'lb/carrier-thread.ts',
    may: ['base', 'linux/stream-sockets.ts', 'linux/wakeup.ts', 'node:worker_threads'],
    why: 'a thread of its own: the composition root of whoever carries connections',
  },
  {
    room: 'linux',
    may: [
      'base',
      'type vip',
      'type lb',
      'koffi',
      'node:fs',
      'node:fs/promises',
      'node:net',
      'node:util',
      'node:os',
      'node:child_process',
      'node:module',
    ],
    why: 'one auditable privileged layer: all contact with the kernel',
  },
  {
    room: 'http',
    may: ['base', 'type cluster', 'prom-client', 'node:http', 'node:perf_hooks', 'node:net'],
    why: 'shows what the rooms count; the rooms expose plain counters',
  },
  {
    room: 'cli',
    may: [
      'base',
      'config',
      'cluster',
      'pki',
      'rpc/admin-client.ts',
      'rpc/join-client.ts',
      'type rpc',
      'type vip',
      'commander',
      'yaml',
      'node:fs',
      'node:fs/promises',
      'node:os',
      'node:net',
      'node:util',
    ],
    why: 'small, and quick to start: a command asks the agent and prints',
  },
  {
    room: 'cli/prepare',
    may: ['storage', 'linux', 'vip', 'node:tls'],
    why: 'init and join look at this host and its wire, and make the data directory',
  },
  {
    room: 'cli/offline.ts',
    may: ['storage', 'linux', 'vip'],
    why: 'status answers with the agent down, from the kernel and the data directory',
  },
  {
    room: 'cli/doctor',
    may: ['linux', 'vip', 'agent/placement.ts'],
    why: 'doctor looks at this host itself, and places the VIPs as the agent would',
  },
  {
    room: 'cli/commands/cleanup.ts',
    may: ['linux'],
    why: 'cleanup sweeps the kernel without an agent',
  },
  {
    room: 'cli/commands/reset.ts',
    may: ['linux'],
    why: 'reset must know that no agent runs, and leaves nothing in the kernel',
  },
  { room: 'cli/commands/agent.ts', may: ['agent.ts'], why: 'the command that runs the daemon' },
  {
    room: 'agent.ts',
    may: ['*'],
    why: 'the composition root: the one place where real parts are plugged together',
  },
  { room: 'agent', may: ['*'], why: 'parts of the composition root' },
  {
    room: 'main.ts',
    may: ['cli', 'base', 'config'],
    why: 'argv to one command, and the exit code',
  },
];

export interface Banned {
  readonly pattern: RegExp;
  /** Files and folders below src/ where it is at home. */
  readonly except: readonly string[];
  readonly why: string;
}

export const bannedInSources: readonly Banned[] = [
  {
    pattern: /\b(?:Date\.now|performance\.now|setTimeout|setInterval)\(/,
    except: ['base/clock.ts'],
    why: 'time is an argument: take a Clock',
  },
  { pattern: /\bMath\.random\b/, except: [], why: 'chance is an argument: take a Prng' },
  {
    pattern: /\bprocess\.env\b/,
    except: ['config', 'linux'],
    why: 'the environment is read once, in config/env.ts',
  },
  { pattern: /\bconsole\./, except: ['cli'], why: 'log by a Logger' },
  {
    pattern: /\bprocess\.exit\(/,
    except: ['main.ts', 'lb/worker.ts'],
    why: 'main.ts owns the exit code',
  },
  { pattern: /child_process/, except: ['linux'], why: 'programs are run by src/linux alone' },
  { pattern: /^export \* from/m, except: [], why: 'no barrel files' },
  { pattern: /^export (?:let|var) /m, except: [], why: 'no mutable exports' },
];

export const bannedEverywhere: readonly Banned[] = [
  {
    pattern: /\bas any\b|:\s*any\s*[;,)=|[\]{]|:\s*any$|<any>/m,
    except: [],
    why: 'say what it is, or unknown',
  },
  { pattern: /^export default /m, except: [], why: 'no default exports: one name everywhere' },
  { pattern: /@ts-(?:ignore|nocheck)/, except: [], why: 'the compiler is right' },
  { pattern: /\b(?:enum|namespace) \w+ \{/, except: [], why: 'erasable syntax only' },
];

/** In code and comments alike: what does not belong into a repository that others read. */
export const bannedText: readonly Banned[] = [
  { pattern: /\b(?:FIXME|TODO|XXX)\b/, except: [], why: 'do it, or leave it out' },
  { pattern: /\bissues? #?\d/i, except: [], why: 'say what is meant: trackers come and go' },
  {
    pattern: /(?:^|(?<!PKCS)[\s(])#\d+\b/m,
    except: [],
    why: 'say what is meant: trackers come and go',
  },
  { pattern: /\bshared\/|\/work\//, except: [], why: 'names a path of some machine' },
];
