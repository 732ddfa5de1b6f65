/**
 * `holdfast apply` and `holdfast diff`: replace the spec by a file, or show what that would change.
 */
import type { ApplySpecResult } from '../../cluster/operations.ts';
import { type OutputOptions, print, type Register, withAgent, withOutput } from '../context.ts';
import { readDocument } from '../input.ts';
import { changesText } from '../spec-change.ts';

interface ApplyOptions extends OutputOptions {
  readonly file: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

export const registerApply: Register = (program, context, done) => {
  withOutput(program.command('apply').description('replace the spec by that of a file'))
    .requiredOption('-f, --file <file>', 'YAML or JSON; - for standard input')
    .option('--dry-run', 'show what would change, and change nothing')
    .option('--yes', 'also remove a VIP, a frontend or the last backend')
    .action(
      done(async (options: ApplyOptions) => {
        const document = await readDocument(context.terminal, options.file);
        const dryRun = options.dryRun === true;
        const result = await withAgent(context, options, (agent) =>
          agent.applySpec({ document, dryRun, yes: options.yes === true }),
        );
        print(context, options, result, changesText(result, dryRun));
        return 0;
      }),
    );
};

export const registerDiff: Register = (program, context, done) => {
  withOutput(program.command('diff').description('show what applying a file would change'))
    .requiredOption('-f, --file <file>', 'YAML or JSON; - for standard input')
    .action(
      done(async (options: ApplyOptions) => {
        const document = await readDocument(context.terminal, options.file);
        const result: ApplySpecResult = await withAgent(context, options, (agent) =>
          agent.applySpec({ document, dryRun: true, yes: true }),
        );
        print(context, options, result, changesText(result, true));
        return 0;
      }),
    );
};
