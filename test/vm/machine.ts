/**
 * A small machine with Debian's own kernel, emulated in software: for what this machine's kernel
 * does not have. It sees this machine's files as they are and changes none of them; what it writes
 * is gone with it. It has no network but what a test makes inside it.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
const cache = join(root, '.cache', 'vm');
const kernel = join(cache, 'kernel');

/** What the kernel needs before it sees any file of ours, each after what it stands on. */
const bootModules = [
  'drivers/virtio/virtio_ring',
  'drivers/virtio/virtio',
  'drivers/virtio/virtio_pci_modern_dev',
  'drivers/virtio/virtio_pci_legacy_dev',
  'drivers/virtio/virtio_pci',
  'fs/netfs/netfs',
  'fs/fscache/fscache',
  'net/9p/9pnet',
  'fs/9p/9p',
  'net/9p/9pnet_virtio',
  'fs/overlayfs/overlay',
];

/** Says little, ends where it fails, does not wait for chance, saves what guards it from guests. */
const kernelWords = [
  'console=ttyS0',
  'quiet',
  'panic=-1',
  'random.trust_cpu=on',
  'mitigations=off',
];

export interface Job {
  /** Lines of sh(1), run as root in the machine. */
  readonly script: string;
  /** The machine is switched off after so long, whatever it does. */
  readonly timeoutMs: number;
  /** Each line that the script prints. */
  readonly onLine: (line: string) => void;
}

export interface Ending {
  /** Of the script; null where it did not end. */
  readonly status: number | null;
  /** Why there is no status; the last words of the kernel. */
  readonly trouble: string;
}

/** Boots a machine, runs the job's script, and switches the machine off. */
export async function runInMachine(job: Job): Promise<Ending> {
  const [version] = readdirSync(join(kernel, 'lib', 'modules'));
  if (version === undefined) throw new Error('no kernel here: run packaging/setup.sh vm');
  const directory = mkdtempSync(join(cache, 'run-'));
  try {
    return await boot(job, version, directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function boot(job: Job, version: string, directory: string): Promise<Ending> {
  const nonce = basename(directory);
  const script = join(directory, 'job.sh');
  writeFileSync(script, jobScript(job.script, nonce));
  const console = join(directory, 'console.log');
  const machine = spawn('setpriv', machineArguments(version, directory), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const forget = endWith(machine, directory);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    machine.kill('SIGKILL');
  }, job.timeoutMs);
  let status: number | null = null;
  const lines = createInterface({ input: machine.stdout });
  lines.on('line', (text) => {
    const line = text.replace(/\r$/, '');
    const ended = line.startsWith(`${nonce} ended `);
    if (ended) status = Number(line.slice(`${nonce} ended `.length));
    else job.onLine(line);
  });
  const startError = await new Promise<Error | null>((resolve) => {
    machine.once('error', resolve);
    machine.once('close', () => resolve(null));
  });
  clearTimeout(timer);
  forget();
  if (startError !== null) throw startError;
  if (status !== null) return { status, trouble: '' };
  const why = late ? `it was switched off after ${job.timeoutMs / 1_000} s` : 'it went off';
  const said = existsSync(console) ? readFileSync(console, 'latin1').slice(-4_000) : '';
  return { status, trouble: `${why}; the kernel's last words:\n${said}` };
}

function machineArguments(version: string, directory: string): string[] {
  return [
    ...['--pdeathsig', 'KILL', 'qemu-system-x86_64'],
    ...['-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', '2048'],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-kernel', join(kernel, 'boot', `vmlinuz-${version}`)],
    ...['-initrd', initramfs(version, directory)],
    ...['-append', [...kernelWords, `holdfast.vm=${join(directory, 'job.sh')}`].join(' ')],
    ...['-serial', `file:${join(directory, 'console.log')}`, '-serial', 'stdio'],
    '-fsdev',
    'local,id=host,path=/,security_model=none,readonly=on,multidevs=remap',
    ...['-device', 'virtio-9p-pci,fsdev=host,mount_tag=host'],
  ];
}

/** The machine's second serial line is the script's output; the first is the kernel's. */
function jobScript(script: string, nonce: string): string {
  return `KERNEL=${kernel}
. ${join(root, 'test/vm/guest.sh')}
stty -F /dev/ttyS1 raw -echo 115200
exec >/dev/ttyS1 2>&1 </dev/null
cd ${root}
(
${script}
)
echo "${nonce} ended $?"
stty -F /dev/ttyS1 -echo
busybox poweroff -f
`;
}

/** The first file system: a shell, the modules of the first minute, and what loads them. */
function initramfs(version: string, directory: string): string {
  const tree = join(directory, 'tree');
  for (const name of ['bin', 'dev', 'modules']) mkdirSync(join(tree, name), { recursive: true });
  cpSync('/bin/busybox', join(tree, 'bin', 'busybox'), { dereference: true });
  cpSync(fileURLToPath(new URL('init.sh', import.meta.url)), join(tree, 'init'));
  chmodSync(join(tree, 'init'), 0o755);
  const from = join(kernel, 'lib', 'modules', version, 'kernel');
  for (const module of bootModules) {
    cpSync(join(from, `${module}.ko`), join(tree, 'modules', `${basename(module)}.ko`));
  }
  const order = bootModules.map((module) => `${basename(module)}.ko\n`).join('');
  writeFileSync(join(tree, 'modules', 'order'), order);
  const image = join(directory, 'initramfs.cpio');
  execFileSync('sh', ['-c', `find . | cpio --quiet -o -H newc >${image}`], { cwd: tree });
  return image;
}

/** However this process ends, the machine does not outlive it, and leaves no files. */
function endWith(machine: ChildProcess, directory: string): () => void {
  const end = (): void => {
    machine.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    end();
    forget();
    process.kill(process.pid, signal);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const forget = (): void => {
    process.off('exit', end);
    for (const signal of signals) process.off(signal, onSignal);
  };
  process.on('exit', end);
  for (const signal of signals) process.on(signal, onSignal);
  return forget;
}
