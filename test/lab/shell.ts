/**
 * Runs short commands and tells what came of them. Long-lived processes are started by
 * children.ts, which knows how to end them.
 */
import { spawn, spawnSync } from 'node:child_process';
import { monotonicMs } from './clock.ts';

export interface Outcome {
  readonly argv: readonly string[];
  /** Exit status; 128 + signal number is not used: a killed command has null. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly tookMs: number;
}

export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** SIGKILL after this; default 30 s. */
  readonly timeoutMs?: number;
}

/** Rejects only when the command cannot be started at all. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const [command = '', ...args] = argv;
  const started = monotonicMs();
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
      timeout: options.timeoutMs ?? 30_000,
      killSignal: 'SIGKILL',
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    const stdout: string[] = [];
    const stderr: string[] = [];
    child.stdout.setEncoding('utf8').on('data', (text: string) => stdout.push(text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => stderr.push(text));
    // A command that ends without reading its input is no failure of ours (EPIPE).
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
    child.on('error', reject);
    child.on('close', (code) =>
      resolve({
        argv,
        code,
        stdout: stdout.join(''),
        stderr: stderr.join(''),
        tookMs: monotonicMs() - started,
      }),
    );
  });
}

/** The standard output of a command that must succeed. */
export async function must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const outcome = await run(argv, options);
  if (outcome.code !== 0) throw new Error(failure(outcome));
  return outcome.stdout;
}

/** For teardown in an `exit` handler, where nothing can be awaited; never throws. */
export function runSync(argv: readonly string[], input = ''): string {
  const [command = '', ...args] = argv;
  const result = spawnSync(command, args, { input, encoding: 'utf8', timeout: 10_000 });
  return result.stdout ?? '';
}

/** One readable paragraph about a command that did not do what it should. */
export function failure(outcome: Outcome): string {
  const said = `${outcome.stdout}${outcome.stderr}`.trim();
  return `exit ${outcome.code}: ${outcome.argv.join(' ')}\n${said}`;
}
