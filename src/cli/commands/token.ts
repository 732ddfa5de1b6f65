/** `holdfast token create|list|revoke`: what lets a further host in. */
import {
  type CommonOptions,
  type OutputOptions,
  print,
  type Register,
  withAgent,
  withOutput,
} from '../context.ts';
import { shortTime, table } from '../table.ts';
import { countValue, durationValue } from '../values.ts';

interface CreateOptions extends OutputOptions {
  readonly ttl: string;
  readonly uses?: string;
  readonly description: string;
  readonly printJoinCommand?: boolean;
}

/** Enough for every host that one cluster takes, many times over. */
const maxUses = 10_000;

export const registerToken: Register = (program, context, done) => {
  const token = program.command('token').description('create, list or revoke join tokens');

  withOutput(token.command('create').description('make a token that lets further hosts join'))
    .option('--ttl <duration>', 'how long it lives', '24h')
    .option('--uses <n>', 'how many joins it is good for (default: any number)')
    .option('--description <text>', 'what it is for', '')
    .option('--print-join-command', 'print the join command alone')
    .action(
      done(async (options: CreateOptions) => {
        const request = {
          ttlMs: durationValue('--ttl', options.ttl),
          uses: options.uses === undefined ? null : countValue('--uses', options.uses, maxUses),
          description: options.description,
          token: null,
        };
        const created = await withAgent(context, options, (agent) => agent.createToken(request));
        const text =
          options.printJoinCommand === true
            ? `${created.joinCommand}\n`
            : `${created.token}\n\nIt lives until ${shortTime(created.expires)}. ` +
              `On a further host:\n  ${created.joinCommand}\n`;
        print(context, options, created, text);
        return 0;
      }),
    );

  withOutput(token.command('list').description('list the tokens, without their secrets')).action(
    done(async (options: OutputOptions) => {
      const tokens = await withAgent(context, options, (agent) => agent.listTokens());
      const rows = tokens.map((each) => [
        each.id,
        shortTime(each.expires),
        each.usesLeft === null ? 'any' : String(each.usesLeft),
        each.description,
      ]);
      const text = table(['token', 'expires', 'uses left', 'description'], rows);
      print(context, options, { tokens }, text);
      return 0;
    }),
  );

  withOutput(token.command('revoke').description('make a token worthless at once'))
    .argument('<id>', 'its first six letters')
    .action(
      done(async (given: string, options: CommonOptions) => {
        // Whoever pastes the whole token means its public part; the secret goes no further.
        const id = given.split('.')[0] ?? given;
        await withAgent(context, options, (agent) => agent.revokeToken(id));
        print(context, options, { revoked: id }, `the token ${id} is revoked\n`);
        return 0;
      }),
    );
};
