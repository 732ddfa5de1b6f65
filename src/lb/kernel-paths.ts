/**
 * The paths in the kernel as this host has them: what they forward, whether `auto` trusts them, and
 * what became of it. Which frontend takes which path is decided by whoever asks.
 */
import type { Clock, Millis } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Prng } from '../base/prng.ts';
import type { HostPaths, Trust } from './data-path.ts';
import { Forwarding, type ForwardingParts } from './forwarding.ts';
import type { ForwardBackend, Forwarder, ForwardPlan, Trial } from './ports.ts';
import { type Candidate, type Target, Trials } from './trials.ts';

export interface KernelParts {
  readonly forwarders: readonly Forwarder[];
  readonly trial: Trial;
  /** Whether a backend accepts a connection of this host's own. */
  readonly connects: (target: Target) => Promise<boolean>;
}

export interface KernelPathsParts extends KernelParts {
  readonly clock: Clock;
  readonly random: Prng;
  readonly log: Logger;
  /** What stands, what is trusted, or what became of either has changed. */
  readonly onChange: () => void;
  /** Only a count has changed. */
  readonly onCount: () => void;
  readonly onLed: ForwardingParts['onLed'];
}

type Kind = Forwarder['kind'];

/** What a host can do changes seldom, and to ask may take a process. */
const ASK_AGAIN_MS: Millis = 30_000;

export class KernelPaths implements HostPaths {
  readonly #parts: KernelPathsParts;
  readonly #forwardings = new Map<Kind, Forwarding>();
  readonly #trials: Trials;
  readonly #answers = new Map<Kind, { readonly until: Millis; readonly answer: string | null }>();

  constructor(parts: KernelPathsParts) {
    const { clock, random, log, onChange, onCount, onLed } = parts;
    this.#parts = parts;
    for (const forwarder of parts.forwarders) {
      const common = { clock, random, log, onChange, onCount, onLed };
      const forwarding = new Forwarding({ ...common, forwarder });
      this.#forwardings.set(forwarder.kind, forwarding);
      // Now, before anybody waits for this process.
      this.unavailable(forwarder.kind);
    }
    const { trial, connects } = parts;
    this.#trials = new Trials({ clock, log, trial, connects, onChange });
  }

  unavailable(kind: Kind): string | null {
    const now = this.#parts.clock.now();
    const known = this.#answers.get(kind);
    if (known !== undefined && now < known.until) return known.answer;
    const forwarding = this.#forwardings.get(kind);
    const answer = forwarding === undefined ? `${kind} is not built yet` : forwarding.unavailable();
    this.#answers.set(kind, { until: now + ASK_AGAIN_MS, answer });
    return answer;
  }

  trust(frontend: { readonly name: string }): Trust {
    return this.#trials.trust(frontend.name);
  }

  /** For these frontends, and only these, a connection through the kernel is tried. */
  consider(candidates: readonly Candidate[]): void {
    this.#trials.consider(candidates);
  }

  /** Makes these, and only these, plans stand. */
  want(plans: ReadonlyMap<Kind, readonly ForwardPlan[]>): void {
    for (const [kind, forwarding] of this.#forwardings) forwarding.want(plans.get(kind) ?? []);
  }

  /** Whether connections to this frontend are forwarded, whatever the plan. */
  stands(frontend: string): boolean {
    return [...this.#forwardings.values()].some((each) => each.stands(frontend));
  }

  error(kind: Kind): string | null {
    return this.#forwardings.get(kind)?.error ?? null;
  }

  get failures(): number {
    return [...this.#forwardings.values()].reduce((sum, { failures }) => sum + failures, 0);
  }

  connections(frontend: string, backend: string): number {
    return [...this.#forwardings.values()].reduce(
      (sum, each) => sum + each.connections(frontend, backend),
      0,
    );
  }

  /** Ends the connections to a backend that does not answer any more. */
  sever(kind: Kind, plan: ForwardPlan, backend: ForwardBackend): void {
    void this.#forwardings.get(kind)?.sever(plan, backend);
  }

  release(address: string): void {
    for (const forwarding of this.#forwardings.values()) void forwarding.release(address);
  }

  /** Rules or routes of this host have changed, by whomever. */
  look(): void {
    this.#trials.look();
    for (const forwarding of this.#forwardings.values()) forwarding.look();
  }

  /** Removes everything; rejects when that failed. */
  async stop(): Promise<void> {
    this.#trials.stop();
    for (const forwarding of this.#forwardings.values()) await forwarding.stop();
  }
}
