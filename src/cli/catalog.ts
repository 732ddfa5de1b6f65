/** Every command by its first word, each in a file that is loaded when it is called for. */
import type { Register } from './context.ts';

export const catalog: Readonly<Record<string, () => Promise<Register>>> = {
  version: async () => (await import('./commands/version.ts')).registerVersion,
};
