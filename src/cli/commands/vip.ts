/** `holdfast vip add|remove|list`: the addresses that the cluster keeps. */
import { type OutputOptions, print, type Register, withOutput } from '../context.ts';
import { type EditOptions, editSpec } from '../spec-change.ts';
import { addVip, removeVip } from '../spec-edit.ts';
import { vipTable } from '../status-text.ts';
import { addressValue, interfaceValue } from '../values.ts';
import { readStatus } from './status.ts';

interface AddOptions extends EditOptions {
  readonly interface?: string;
}

export const registerVip: Register = (program, context, done) => {
  const vip = program.command('vip').description('add, remove or list VIPs');

  withOutput(vip.command('add').description('let the cluster keep a further address'))
    .argument('<address>')
    .option('--interface <name>', 'on which interface (default: that of its subnet)')
    .option('--dry-run', 'show what would change, and change nothing')
    .action(
      done(async (given: string, options: AddOptions) => {
        const address = addressValue('the VIP', given);
        const link =
          options.interface === undefined ? null : interfaceValue('--interface', options.interface);
        await editSpec(context, options, addVip(address, link));
        return 0;
      }),
    );

  withOutput(vip.command('remove').description('let go of an address, and of its frontends'))
    .argument('<address>')
    .option('--yes', 'confirm: the address stops answering')
    .option('--dry-run', 'show what would change, and change nothing')
    .action(
      done(async (given: string, options: EditOptions) => {
        await editSpec(context, options, removeVip(addressValue('the VIP', given)));
        return 0;
      }),
    );

  withOutput(vip.command('list').description('list the VIPs as this node knows them')).action(
    done(async (options: OutputOptions) => {
      const { vips } = await readStatus(context, options);
      print(context, options, { vips }, vipTable(vips));
      return 0;
    }),
  );
};
