/**
 * A network of pods behind a host: a namespace of its own, a route to it on everybody, and no
 * translation on the way, as most cluster networks have it between hosts that are neighbours.
 */
import type { Host } from './host.ts';
import type { Lab } from './lab.ts';
import { inNamespace } from './namespace.ts';
import { must } from './shell.ts';

/** Enough of a host for whoever asks from inside. */
export type Pod = Pick<Host, 'name' | 'namespace' | 'directory' | 'adopt'>;

/** @param number tells the networks of one lab apart */
export async function addPod(lab: Lab, host: Host, number: number): Promise<Pod> {
  const namespace = `${host.namespace}pod`;
  const [pod4, gate4, net4] = [2, 1, 0].map((last) => `10.244.${number}.${last}`);
  const [pod6, gate6, net6] = ['2', '1', ''].map((last) => `fd44:${number}::${last}`);
  await must(['ip', 'netns', 'add', namespace]);
  await ip(host.namespace, [
    `link add pod0 type veth peer name eth0 netns ${namespace}`,
    `addr add ${gate4}/24 dev pod0`,
    `addr add ${gate6}/64 dev pod0 nodad`,
    'link set pod0 up',
  ]);
  await ip(namespace, [
    'link set lo up',
    `addr add ${pod4}/24 dev eth0`,
    `addr add ${pod6}/64 dev eth0 nodad`,
    'link set eth0 up',
    `route add default via ${gate4}`,
    `-6 route add default via ${gate6}`,
  ]);
  const forwards = ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'];
  await must(inNamespace(host.namespace, ['sysctl', '-qw', ...forwards]));
  for (const other of lab.hosts.filter((each) => each !== host)) {
    await ip(other.namespace, [
      `route add ${net4}/24 via ${host.address}`,
      `-6 route add ${net6}/64 via ${host.address6}`,
    ]);
  }
  const { directory } = host;
  return {
    name: `a pod on ${host.name}`,
    namespace,
    directory,
    adopt: (child) => host.adopt(child),
  };
}

async function ip(namespace: string, lines: readonly string[]): Promise<void> {
  // A batch knows no family, so each line is a call.
  for (const line of lines) await must(['ip', '-n', namespace, ...line.split(' ')]);
}
