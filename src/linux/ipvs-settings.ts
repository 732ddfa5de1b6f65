/**
 * What IPVS itself must be set to, in this namespace, for it to do what is promised. It is turned
 * on and never back: by then, others may need it.
 */
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { describeError, OperatingError } from '../base/errors.ts';

interface Setting {
  readonly name: string;
  readonly why: string;
}

const settings: readonly Setting[] = [
  { name: 'net.ipv4.vs.conntrack', why: 'backends answer through this host' },
  { name: 'net.ipv4.vs.expire_nodest_conn', why: 'connections to a dead backend end' },
];

const pathOf = ({ name }: Setting): string => `/proc/sys/${name.replaceAll('.', '/')}`;

const isOn = (setting: Setting): boolean => readFileSync(pathOf(setting), 'utf8').trim() !== '0';

/** Why a setting is off that this process cannot turn on, or null. */
export function settingMissing(): string | null {
  for (const setting of settings) {
    try {
      if (isOn(setting)) continue;
      accessSync(pathOf(setting), constants.W_OK);
    } catch {
      return `${setting.name} is not 1 (${setting.why}): run sysctl -w ${setting.name}=1`;
    }
  }
  return null;
}

export function turnOnSettings(): void {
  for (const setting of settings) {
    try {
      if (!isOn(setting)) writeFileSync(pathOf(setting), '1\n');
    } catch (error) {
      throw new OperatingError({
        code: 'sysctl-refused',
        message: `${setting.name} could not be set to 1: ${describeError(error)}`,
        hint: `run sysctl -w ${setting.name}=1, and name it in /etc/sysctl.d`,
        cause: error,
      });
    }
  }
}
