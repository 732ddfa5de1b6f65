/**
 * When each backend of a frontend is looked at: in its turn, and out of turn when a client's
 * connection to it has just failed. Turns come a little early by chance, never late, so that many
 * hosts that began together do not probe together.
 */
import type { Clock, Millis } from '../base/clock.ts';
import type { Prng } from '../base/prng.ts';
import type { Backend } from './backend.ts';
import type { LateAnswer, ProbeResult } from './health.ts';
import type { HealthCheck } from './ports.ts';
import type { Prober } from './probe.ts';

/** Whatever interval is asked for, a fast backend must not make the probes spin. */
const MIN_INTERVAL_MS: Millis = 10;
/** However many clients fail, a backend is not probed more often than this. */
const PROBE_SPACING_MS: Millis = 100;
/** Of the interval: how much earlier than in its turn a probe may come. */
const JITTER = 0.1;

export interface ProbeScheduleParts {
  readonly clock: Clock;
  readonly random: Prng;
  readonly createProber: (check: HealthCheck) => Prober;
  readonly onResult: (backend: Backend, result: ProbeResult) => void;
  /** An answer that was waited for beyond all patience did not come. */
  readonly onSilence: (backend: Backend) => void;
}

export class ProbeSchedule {
  readonly #parts: ProbeScheduleParts;
  #check: HealthCheck;
  #prober: Prober;

  constructor(check: HealthCheck, parts: ProbeScheduleParts) {
    this.#parts = parts;
    this.#check = check;
    this.#prober = parts.createProber(check);
  }

  /** From now on backends are looked at in this way; false where it is the same as before. */
  follow(check: HealthCheck): boolean {
    if (sameCheck(check, this.#check)) return false;
    this.#check = check;
    this.#prober = this.#parts.createProber(check);
    return true;
  }

  /** Looks as soon as that is decent, and from then on in turn. */
  probeNow(backend: Backend): void {
    if (backend.probe !== null) return;
    if (this.#check.type !== 'none') {
      this.#probeAt(backend, backend.probedAt + PROBE_SPACING_MS);
      return;
    }
    // There is nothing to find out, now or later.
    backend.timer?.cancel();
    this.#parts.onResult(backend, { acceptsTcp: true, healthy: true, reason: 'not checked' });
  }

  stop(backend: Backend): void {
    backend.timer?.cancel();
    backend.timer = null;
    backend.probe?.abort();
    backend.probe = null;
    backend.late?.giveUp();
  }

  #probeAt(backend: Backend, at: Millis): void {
    const { clock } = this.#parts;
    backend.timer?.cancel();
    backend.timer = clock.after(Math.max(0, at - clock.now()), () => void this.#probe(backend));
  }

  async #probe(backend: Backend): Promise<void> {
    const { clock, random, onResult } = this.#parts;
    backend.probedAt = clock.now();
    const probe = new AbortController();
    backend.probe = probe;
    const result = await this.#prober(backend, probe.signal);
    if (probe.signal.aborted) {
      result.late?.giveUp();
      return;
    }
    backend.probe = null;
    const intervalMs = Math.max(MIN_INTERVAL_MS, this.#check.intervalMs);
    this.#probeAt(backend, backend.probedAt + intervalMs * (1 - JITTER * random()));
    if (result.late !== undefined) this.#waitFor(backend, result.late);
    onResult(backend, result);
  }

  /** One such wait is enough, and all that a server in trouble is asked to bear. */
  #waitFor(backend: Backend, late: LateAnswer): void {
    if (backend.late !== null) {
      late.giveUp();
      return;
    }
    backend.late = late;
    void late.came.then((came) => {
      backend.late = null;
      if (!came) this.#parts.onSilence(backend);
    });
  }
}

function sameCheck(a: HealthCheck, b: HealthCheck): boolean {
  return (Object.keys(a) as (keyof HealthCheck)[]).every((key) => a[key] === b[key]);
}
