/** `holdfast get spec`: the spec with every default filled in, ready to be edited and applied. */
import { type OutputOptions, printJson, type Register, withAgent, withOutput } from '../context.ts';

export const registerGet: Register = (program, context, done) => {
  const get = program.command('get').description('print what the cluster is told to do');
  withOutput(get.command('spec').description('print the spec, confirmed by the quorum'), [
    'yaml',
    'json',
  ])
    .option('--local', 'as this node has it, without asking anybody')
    .action(
      done(async (options: OutputOptions & { readonly local?: boolean }) => {
        const document = await withAgent(context, options, (agent) =>
          agent.getSpec({ local: options.local === true }),
        );
        if (options.output === 'json') {
          printJson(context.terminal, document);
          return 0;
        }
        const { formatYaml } = await import('../yaml.ts');
        context.terminal.out(formatYaml(document));
        return 0;
      }),
    );
};
