/** `holdfast cert list|renew`: certificates renew themselves; this shows them, or does it now. */
import { type OutputOptions, print, type Register, withAgent, withOutput } from '../context.ts';
import { shortTime, span, table } from '../table.ts';

export const registerCert: Register = (program, context, done) => {
  const cert = program.command('cert').description('list or renew the members’ certificates');

  withOutput(cert.command('list').description('list the certificates of all members')).action(
    done(async (options: OutputOptions) => {
      const certificates = await withAgent(context, options, (agent) => agent.listCertificates());
      const now = context.clock.wallNow();
      const rows = certificates.map(({ name, nodeId, expires }) => [
        name,
        nodeId,
        expires === null ? '' : shortTime(expires),
        expires === null ? '' : remaining(Date.parse(expires) - now),
      ]);
      const text = table(['member', 'node id', 'valid until', 'left'], rows);
      print(context, options, { certificates }, text);
      return 0;
    }),
  );

  withOutput(cert.command('renew').description('renew the certificate of this node now')).action(
    done(async (options: OutputOptions) => {
      const renewed = await withAgent(context, options, (agent) => agent.renewCertificate());
      const until = renewed.expires === null ? 'unknown' : shortTime(renewed.expires);
      print(context, options, renewed, `${renewed.name} has a new certificate until ${until}\n`);
      return 0;
    }),
  );
};

function remaining(ms: number): string {
  if (Number.isNaN(ms)) return '';
  return ms <= 0 ? 'EXPIRED' : span(ms);
}
