/** `holdfast version`: which Holdfast this is, and on what it runs. */
import { version } from '../../config/version.ts';
import { type OutputOptions, printJson, type Register, withOutput } from '../context.ts';

export const registerVersion: Register = (program, { terminal }, done) => {
  withOutput(program.command('version').description('print the version')).action(
    done(async (options: OutputOptions) => {
      if (options.output === 'json') printJson(terminal, { version, node: process.version });
      else terminal.out(`holdfast ${version} (Node.js ${process.version})\n`);
      return 0;
    }),
  );
};
