/** `holdfast transfer [NAME]`: moves the leadership and the address with it, before maintenance. */
import { type OutputOptions, print, type Register, withAgent, withOutput } from '../context.ts';

export const registerTransfer: Register = (program, context, done) => {
  withOutput(program.command('transfer').description('move the leadership, and the VIP with it'))
    .argument('[name]', 'default: the best one')
    .action(
      done(async (name: string | undefined, options: OutputOptions) => {
        const result = await withAgent(context, options, (agent) => agent.transfer(name ?? null));
        print(context, options, result, `${result.leader} leads now\n`);
        return 0;
      }),
    );
};
