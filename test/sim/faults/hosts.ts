/** Faults of processes, machines and their clocks. */
import { pick } from '../../../src/base/prng.ts';
import { newestLeader } from '../host.ts';
import type { Catalogue } from './fault.ts';

/** The furthest that a wall clock jumps at once, either way. */
const WALL_JUMP_MS = 86_400_000;

type Kind =
  | 'kill'
  | 'power-cut'
  | 'quick-restart'
  | 'pause'
  | 'vm-pause'
  | 'siege'
  | 'drowse'
  | 'graceful-stop'
  | 'clock-rate'
  | 'wall-clock';

export const hostFaults: Catalogue<Kind> = {
  kill(faults) {
    const host = faults.victim();
    if (!host.isUp) return false;
    host.kill();
    faults.later(faults.duration(), () => host.start());
    return true;
  },
  'power-cut'(faults) {
    const host = faults.victim();
    if (host.isScrapped) return false;
    host.powerCut();
    faults.later(faults.duration(), () => host.start());
    return true;
  },
  'quick-restart'(faults) {
    const host = faults.victim();
    if (!host.isUp) return false;
    host.kill();
    faults.later(1 + 20 * faults.random(), () => host.start());
    return true;
  },
  pause(faults) {
    const host = faults.victim();
    if (!host.isUp) return false;
    host.pause(faults.duration());
    return true;
  },
  'vm-pause'(faults) {
    return faults.victim().pauseMachine(faults.duration());
  },
  /**
   * One follower no longer hears the leader and soon wants to be elected, while those who still do
   * are restarted under the leader's feet: whoever forgets its promise then elects a second holder.
   */
  siege(faults) {
    const { hosts } = faults.parts;
    const leader = newestLeader(hosts);
    const others = hosts.filter((host) => host !== leader && host.isUp && host.isVoter());
    if (leader === undefined || others.length < 2) return false;
    const rebel = pick(faults.random, others);
    const { promiseMs } = leader.timing();
    faults.undisturbed(4 * promiseMs);
    faults.cut([leader], [rebel], 4 * promiseMs);
    if (faults.random() < 0.5) faults.cut([rebel], [leader], 4 * promiseMs);
    for (const loyal of others.filter((host) => host !== rebel)) {
      faults.later(promiseMs * (1.2 + 2.5 * faults.random()), () => {
        loyal.kill();
        if (faults.random() < 0.7) faults.cut([leader], [loyal], promiseMs);
        faults.later(1 + 5 * faults.random(), () => loyal.start());
      });
    }
    return true;
  },
  /**
   * One follower no longer hears the leader, while those who do sleep, wake up to a heartbeat that
   * has waited for them, and hear no more: whoever dates it back is free too early.
   */
  drowse(faults) {
    const { hosts } = faults.parts;
    const leader = newestLeader(hosts);
    const others = hosts.filter((host) => host !== leader && host.isUp && host.isVoter());
    if (leader === undefined || others.length < 2) return false;
    const rebel = pick(faults.random, others);
    const { promiseMs, heartbeatMs } = leader.timing();
    faults.undisturbed(4 * promiseMs);
    faults.cut([leader], [rebel], 4 * promiseMs);
    faults.cut([rebel], [leader], 4 * promiseMs);
    // Equal logs, so that whoever is free may be elected; and nobody at home to let go in time.
    faults.parts.workload.hush(4 * promiseMs);
    const wakesAt = promiseMs * (1.2 + faults.random());
    if (faults.random() < 0.5) faults.later(wakesAt + 15, () => leader.pause(2 * promiseMs));
    for (const loyal of others.filter((host) => host !== rebel)) {
      // Of all that comes meanwhile the first round tells it the time: let there be only one.
      const asleepMs = heartbeatMs + promiseMs * (0.2 + 0.4 * faults.random());
      faults.later(wakesAt - asleepMs, () => {
        loyal.pause(asleepMs);
        faults.cut([leader], [loyal], asleepMs - heartbeatMs);
      });
      faults.later(wakesAt + 5 * faults.random(), () => {
        faults.cut([leader], [loyal], 2 * promiseMs);
      });
    }
    return true;
  },
  'graceful-stop'(faults) {
    const host = faults.victim();
    if (!host.isUp) return false;
    const down = faults.duration();
    // Also a host that still stops when all is healed comes back.
    host.stop(() => faults.parts.world.after(down, () => host.start()));
    return true;
  },
  'clock-rate'(faults) {
    const host = faults.victim();
    if (!host.isUp) return false;
    host.changeRates();
    return true;
  },
  'wall-clock'(faults) {
    faults.victim().jumpWallClock((2 * faults.random() - 1) * WALL_JUMP_MS);
    return true;
  },
};
