/** Faults of the hosts' kernels and of the segment that carries the VIP. */
import type { Catalogue } from './fault.ts';

type Kind =
  | 'link-down'
  | 'address-deleted'
  | 'netlink-error'
  | 'netlink-slow'
  | 'fence-error'
  | 'fence-removed'
  | 'stranger';

export const kernelFaults: Catalogue<Kind> = {
  'link-down'(faults) {
    const host = faults.victim();
    host.setLink(false);
    faults.later(faults.duration(), () => host.setLink(true));
    return host.isUp;
  },
  'address-deleted'(faults) {
    return faults.victim().deleteAddress(faults.parts.vip);
  },
  /** Adding the address ends in EEXIST or EBUSY, taking it away in EBUSY. */
  'netlink-error'(faults) {
    const host = faults.victim();
    host.troubleKernel('netlink', faults.parts.world.now + faults.duration());
    return host.isUp;
  },
  'netlink-slow'(faults) {
    const host = faults.victim();
    host.troubleKernel('slow', faults.parts.world.now + faults.duration());
    return host.isUp;
  },
  'fence-error'(faults) {
    const host = faults.victim();
    host.troubleKernel('fence', faults.parts.world.now + faults.duration());
    return host.isUp;
  },
  'fence-removed'(faults) {
    return faults.victim().removeFence();
  },
  /** A host that is no member answers for the VIP: whoever asks does not claim it then. */
  stranger(faults) {
    const { lan } = faults.parts;
    faults.note('a stranger answers for the VIP');
    lan.stranger = true;
    faults.later(faults.duration(), () => {
      lan.stranger = false;
      faults.note('the stranger is silent');
    });
    return true;
  },
};
