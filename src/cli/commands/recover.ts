/**
 * `holdfast recover --force-new-cluster`: the quorum is lost for good, and one survivor goes on
 * alone. Dangerous where a host that is named as fenced still runs: so it must be named.
 */
import { OperatingError } from '../../base/errors.ts';
import {
  dataDirSuffix,
  type OutputOptions,
  pathsOf,
  print,
  type Register,
  withOutput,
} from '../context.ts';
import { span } from '../table.ts';
import { namesValue } from '../values.ts';

interface RecoverOptions extends OutputOptions {
  readonly fenced: string;
  readonly yes?: boolean;
}

export const registerRecover: Register = (program, context, done) => {
  withOutput(program.command('recover').description('go on alone when the quorum is lost for good'))
    .requiredOption('--force-new-cluster', 'with this stopped node as the only member')
    .requiredOption('--fenced <names>', 'every other member: off for good, or never to run again')
    .option('--yes', 'confirm: those who are named can never come back')
    .action(
      done(async (options: RecoverOptions) => {
        const paths = pathsOf(options);
        const fenced = namesValue('--fenced', options.fenced);
        if (options.yes !== true) throw unconfirmed(fenced);
        const { recoverNode } = await import('../prepare/recover.ts');
        const result = await recoverNode(fenced, {
          paths,
          clock: context.clock,
          say: (line) => context.terminal.err(`${line}\n`),
        });
        const start =
          paths.given === null
            ? 'systemctl start holdfast'
            : `holdfast agent${dataDirSuffix(paths)}`;
        const text = `${result.nodeName} is now all that ${result.clusterName} has. Next, here:
  ${start}
It waits ${span(result.waitMs)} before it takes the VIP, as long as an earlier lease could last.

${result.fenced.join(', ')} can never come back as they were. On each, before anything else runs:
  holdfast reset --yes
and then the command that this prints here:
  holdfast token create --print-join-command
`;
        print(context, options, result, text);
        return 0;
      }),
    );
};

function unconfirmed(fenced: readonly string[]): OperatingError {
  const names = fenced.join(', ');
  return new OperatingError({
    code: 'unconfirmed',
    message:
      `this would make this host the only member, and nothing was done; if one of ${names} still ` +
      'runs, two hosts may hold the VIP, and what this host had not received is lost',
    hint: 'switch them off for good, then repeat it with --yes',
    facts: { fenced },
  });
}
