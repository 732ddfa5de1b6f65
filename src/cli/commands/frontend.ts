/** `holdfast frontend add|remove|list`: the ports that are served on the VIPs. */
import { namePattern, nameRule } from '../../config/names.ts';
import { type OutputOptions, print, type Register, withOutput } from '../context.ts';
import { type EditOptions, editSpec } from '../spec-change.ts';
import { addFrontend, removeFrontend } from '../spec-edit.ts';
import { table } from '../table.ts';
import { addressValue, choiceValue, matchingValue, portValue } from '../values.ts';
import { readStatus } from './status.ts';

interface AddOptions extends EditOptions {
  readonly port: string;
  readonly vip?: string;
  readonly memberPort?: string;
  readonly members: boolean;
  readonly check: string;
  readonly scheduler: string;
  readonly prefer: string;
  readonly dataPath: string;
}

const checks = ['tcp', 'http', 'https', 'none'] as const;
const schedulers = ['round-robin', 'weighted', 'least-connections', 'source-hash'] as const;
const preferences = ['any', 'local'] as const;
const dataPaths = ['auto', 'nftables', 'ipvs', 'proxy', 'http', 'none'] as const;

export const registerFrontend: Register = (program, context, done) => {
  const frontend = program.command('frontend').description('add, remove or list frontends');

  withOutput(frontend.command('add').description('serve a further port on a VIP'))
    .argument('<name>')
    .requiredOption('--port <port>', 'the port on the VIP')
    .option('--vip <address>', 'which VIP (default: the only one)')
    .option('--member-port <port>', 'the port of every member (default: that of the VIP)')
    .option('--no-members', 'the members are no backends; add some with `backend add`')
    .option('--check <type>', `how backends are probed: ${checks.join(', ')}`, 'tcp')
    .option('--scheduler <name>', schedulers.join(', '), 'round-robin')
    .option('--prefer <whom>', 'any, or local: this host first, while it may be chosen', 'any')
    .option('--data-path <name>', dataPaths.join(', '), 'auto')
    .option('--dry-run', 'show what would change, and change nothing')
    .action(
      done(async (name: string, options: AddOptions) => {
        const { defaultHealthCheck } = await import('../../cluster/spec-schema.ts');
        const port = portValue('--port', options.port);
        const memberPort = portValue('--member-port', options.memberPort ?? options.port);
        const edit = addFrontend({
          name: matchingValue('the name', name, namePattern, nameRule),
          vip: options.vip === undefined ? null : addressValue('--vip', options.vip),
          port,
          protocol: 'tcp',
          dataPath: choiceValue('--data-path', options.dataPath, dataPaths),
          scheduler: choiceValue('--scheduler', options.scheduler, schedulers),
          prefer: choiceValue('--prefer', options.prefer, preferences),
          memberPort: options.members ? memberPort : null,
          healthCheck: {
            ...defaultHealthCheck,
            type: choiceValue('--check', options.check, checks),
          },
        });
        await editSpec(context, options, edit);
        return 0;
      }),
    );

  withOutput(frontend.command('remove').description('stop serving a port'))
    .argument('<name>')
    .option('--yes', 'confirm: the port stops answering')
    .option('--dry-run', 'show what would change, and change nothing')
    .action(
      done(async (name: string, options: EditOptions) => {
        await editSpec(context, options, removeFrontend(name));
        return 0;
      }),
    );

  withOutput(
    frontend.command('list').description('list the frontends as this node knows them'),
  ).action(
    done(async (options: OutputOptions) => {
      const { frontends } = await readStatus(context, options);
      const rows = frontends.map((each) => [
        each.name,
        each.address,
        String(each.port),
        each.dataPath,
        `${each.backends.filter((one) => one.state === 'up').length}/${each.backends.length}`,
        each.dataPathReason,
      ]);
      const header = ['frontend', 'vip', 'port', 'data path', 'backends up', 'why'];
      print(context, options, { frontends }, table(header, rows));
      return 0;
    }),
  );
};
