/**
 * Runs the lab, and beside it what only computes, on what the lab leaves of the processors: the lab
 * mostly waits. What the others say is told when the lab is done.
 */
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';

/** Idle class and lowest priority: whatever the lab does goes first. */
const whenIdle = ['chrt', '--idle', '0', 'nice', '-n', '19'];
const beside = ['vm', 'mutants'];

interface Told {
  readonly status: number;
  readonly said: string;
}

async function run(name: string, how: readonly string[], stdout: 'inherit' | 'pipe') {
  const [program = '', ...args] = [...how, 'npm', 'run', '--silent', name];
  const child = spawn(program, args, { stdio: ['ignore', stdout, 'inherit'] });
  const status = new Promise<number>((resolve) => {
    child.once('close', (code) => resolve(code ?? 1));
  });
  const said = child.stdout === null ? '' : await text(child.stdout);
  return { status: await status, said };
}

async function inTurn(): Promise<readonly Told[]> {
  const told: Told[] = [];
  for (const name of beside) told.push(await run(name, whenIdle, 'pipe'));
  return told;
}

const rest = inTurn();
const { status } = await run('lab', [], 'inherit');
process.exitCode = status;
for (const [index, told] of (await rest).entries()) {
  console.log(`npm run ${beside[index]}:`);
  process.stdout.write(told.said);
  process.exitCode ||= told.status;
}
