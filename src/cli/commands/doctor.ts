/**
 * `holdfast doctor`: whether this host can do what it is to do, and what stands in the way. It
 * works with the agent up or down and before `init`, waits for nobody, and turns nothing back.
 */
import { describeError, errorCode } from '../../base/errors.ts';
import {
  type Context,
  type OutputOptions,
  pathsOf,
  print,
  type Register,
  withOutput,
} from '../context.ts';
import type { DoctorFacts } from '../doctor/facts.ts';
import { readStatus } from './status.ts';

export const registerDoctor: Register = (program, context, done) => {
  withOutput(
    program.command('doctor').description('tell what on this host is well, and what is not'),
  ).action(
    done(async (options: OutputOptions) => {
      const { gather } = await import('../doctor/gather.ts');
      const { documentOf, doctorText } = await import('../doctor/check.ts');
      const { hostChecks } = await import('../doctor/host-checks.ts');
      const { nodeChecks } = await import('../doctor/node-checks.ts');
      const facts = await gather(context, pathsOf(options), await statusOf(context, options));
      const document = documentOf([...nodeChecks(facts), ...hostChecks(facts)]);
      print(context, options, document, doctorText(document));
      return document.verdict === 'fail' ? 1 : 0;
    }),
  );
};

async function statusOf(context: Context, options: OutputOptions): Promise<DoctorFacts['status']> {
  try {
    return { value: await readStatus(context, options) };
  } catch (error) {
    if (errorCode(error) === 'data-missing') return { value: null };
    return { unknown: describeError(error) };
  }
}
