/** `holdfast agent`: the daemon. Everything else that a node does begins in `agent.ts`. */

import { type CommonOptions, pathsOf, type Register, withDataDir } from '../context.ts';
import { choiceValue } from '../values.ts';

interface AgentOptions extends CommonOptions {
  readonly logLevel?: string;
  readonly logFormat?: string;
}

export const registerAgent: Register = (program, context, done) => {
  withDataDir(program.command('agent').description('run this node; what systemd starts'))
    .option('--log-level <level>', 'debug, info, warn or error (default: as configured)')
    .option('--log-format <format>', 'text or json (default: as configured)')
    .action(
      done(async (options: AgentOptions) => {
        const paths = pathsOf(options);
        const { readAgentConfig } = await import('../../config/agent-file.ts');
        const config = await readAgentConfig(paths.config);
        const { logLevel = config.log.level, logFormat = config.log.format } = options;
        const log = {
          level: choiceValue('--log-level', logLevel, ['debug', 'info', 'warn', 'error']),
          format: choiceValue('--log-format', logFormat, ['text', 'json']),
        } as const;
        const { runAgent } = await import('../../agent.ts');
        const exitCode = await runAgent(
          { ...config, log },
          { paths, environment: context.environment },
        );
        return exitCode === 0 ? 0 : 1;
      }),
    );
};
