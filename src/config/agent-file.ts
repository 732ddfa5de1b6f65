/** `agent.yaml` on disk: read and parsed, or written whole. */
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseDocument, stringify } from 'yaml';
import { errorCode, OperatingError } from '../base/errors.ts';
import { type AgentConfig, agentDocument, parseAgentConfig } from './agent-config.ts';

const header = `# This node's own configuration; \`holdfast init\` or \`holdfast join\` wrote it.
# What the cluster should do is in the spec: \`holdfast get spec\`.
`;

/**
 * @throws OperatingError `config-missing`, `config-unreadable`, `config-invalid`
 */
export async function readAgentConfig(path: string): Promise<AgentConfig> {
  const text = await readText(path);
  const document = parseDocument(text);
  const [problem] = document.errors;
  if (problem !== undefined) {
    const [reason] = problem.message.split('\n');
    throw new OperatingError({
      code: 'config-invalid',
      message: `${path} is not YAML: ${reason?.replace(/:$/, '')}`,
      hint: 'correct it and start the agent again',
      facts: { path },
    });
  }
  return parseAgentConfig(document.toJS(), path);
}

/** The configuration, or null where this node has none yet. */
export async function readAgentConfigIfThere(path: string): Promise<AgentConfig | null> {
  try {
    return await readAgentConfig(path);
  } catch (error) {
    if (errorCode(error) === 'config-missing') return null;
    throw error;
  }
}

/** Writes the file whole or not at all, readable by root alone. */
export function writeAgentConfig(path: string, config: AgentConfig): void {
  const draft = `${path}.tmp`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    rmSync(draft, { force: true });
    const file = openSync(draft, 'wx', 0o600);
    try {
      writeSync(file, header + stringify(agentDocument(config)));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(draft, path);
  } catch (error) {
    throw new OperatingError({
      code: 'config-not-writable',
      message: `${path} cannot be written (${errorCode(error) ?? 'unknown error'})`,
      hint: 'run as root, and see that there is space on the disk',
      facts: { path },
      cause: error,
    });
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = errorCode(error);
    const missing = code === 'ENOENT' || code === 'ENOTDIR';
    throw new OperatingError({
      code: missing ? 'config-missing' : 'config-unreadable',
      message: missing
        ? `this node is not prepared: ${path} is missing`
        : `${path} cannot be read (${code ?? 'unknown error'})`,
      hint: missing
        ? 'run `holdfast init` on the first host or `holdfast join` on a further one'
        : 'run as root',
      facts: { path },
      cause: error,
    });
  }
}
