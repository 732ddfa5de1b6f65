/**
 * What users do meanwhile: unique values are written through whichever node they reach, hosts join
 * and leave, leadership is moved. Refusals are as good as successes here; the checkers judge.
 */
import type { Millis } from '../../src/base/clock.ts';
import { OperatingError } from '../../src/base/errors.ts';
import { type Prng, pick } from '../../src/base/prng.ts';
import type { Index, NodeId } from '../../src/raft/types.ts';
import type { HistoryChecker } from './checkers/history.ts';
import { newestLeader, type SimHost } from './host.ts';
import type { FaultKind, Options } from './options.ts';
import type { Answer, Request } from './program.ts';
import type { World } from './world.ts';

export interface WorkloadParts {
  readonly world: World;
  readonly options: Options;
  readonly hosts: readonly SimHost[];
  readonly history: HistoryChecker;
}

/** Values are this and a number that grows. */
const VALUE = 'value-';

/** Their point is the refusal, or that nothing breaks. */
const mayBeRefused: ReadonlySet<FaultKind> = new Set([
  'transfer-to-dead',
  'transfer-to-slow',
  'transfer-to-learner',
  'transfer-to-self',
  'transfer-to-removed',
  'two-transfers',
  'change-in-transfer',
]);

export class Workload {
  readonly #parts: WorkloadParts;
  readonly #random: Prng;
  #values = 0;
  #newestAcknowledged = -1;
  #over = false;
  readonly #purposes = new Map<Request, FaultKind>();
  #hushedUntil: Millis = 0;

  constructor(parts: WorkloadParts) {
    this.#parts = parts;
    this.#random = parts.world.random('workload');
  }

  /** Writes go on until {@link end}. */
  begin(): void {
    const { world, options } = this.#parts;
    const pauseMs = -Math.log(1 - this.#random()) * options.proposeEveryMs;
    world.after(pauseMs, () => {
      if (this.#over) return;
      if (world.now < this.#hushedUntil || this.#random() < 0.2) this.read();
      else this.write();
      this.begin();
    });
  }

  /** Reads only, for `ms`, so that all logs stay equal. */
  hush(ms: Millis): void {
    this.#hushedUntil = this.#parts.world.now + ms;
  }

  end(): void {
    this.#over = true;
  }

  write(): void {
    this.ask(this.#newValue());
  }

  /** What tells later, by {@link isAcknowledgedSince}, whether what was asked before is over. */
  mark(): number {
    return this.#values;
  }

  isAcknowledgedSince(mark: number): boolean {
    return this.#newestAcknowledged >= mark;
  }

  writeTo(host: SimHost): void {
    this.askOf(host, this.#newValue());
  }

  read(): void {
    const floor = this.#parts.history.answered;
    this.ask({ type: 'read', floor, hops: 0 });
  }

  /** Asks again and again until the leader's configuration has `id`, or writes are over. */
  admit(id: NodeId): void {
    if (this.#over) return;
    const leader = newestLeader(this.#parts.hosts);
    const config = leader?.config();
    if (config?.voters.includes(id) === true || config?.learners.includes(id) === true) return;
    this.ask({ type: 'add', id });
    this.#parts.world.after(150, () => this.admit(id));
  }

  answered(request: Request, answer: Answer): void {
    const { history } = this.#parts;
    const purpose = this.#purposes.get(request);
    if (purpose !== undefined) this.#served(purpose, request, answer);
    if (request.type === 'write') {
      if (answer.ok) this.#written(request.value, request.floor, answer.index);
      else history.refused(request.value, answer.error);
    } else if (request.type === 'read') {
      if (answer.ok) history.read(request.floor, answer.index);
      else this.#forward(request, answer.error);
    }
  }

  /** A member that does not lead passes a read on, once, to whom it takes for the leader. */
  #forward(request: Extract<Request, { readonly type: 'read' }>, error: unknown): void {
    if (!(error instanceof OperatingError) || request.hops > 0) return;
    const { leader } = error.facts;
    if (typeof leader !== 'object' || leader === null || !('id' in leader)) return;
    const host = this.#parts.hosts.find(({ id }) => id === leader.id);
    host?.inProcess((brain) => brain.ask({ ...request, hops: 1 }));
  }

  #newValue(): Request {
    const floor = this.#parts.history.answered;
    return { type: 'write', value: `${VALUE}${this.#values++}`, floor };
  }

  #written(value: string, floor: Index, index: Index): void {
    this.#parts.history.written(value, floor, index);
    const number = Number(value.slice(VALUE.length));
    this.#newestAcknowledged = Math.max(this.#newestAcknowledged, number);
  }

  /** What came of a request that a fault made. */
  #served(purpose: FaultKind, request: Request, answer: Answer): void {
    const { world } = this.#parts;
    this.#purposes.delete(request);
    const code = answer.ok ? null : codeOf(answer.error);
    if (purpose === 'return-removed') {
      if (answer.ok) world.fail('ids-never-return', 'a removed id was admitted again');
      else if (code === 'id-taken') world.exercise(purpose);
    } else if (answer.ok || mayBeRefused.has(purpose)) world.exercise(purpose);
  }

  /** Asks one host. @param as the fault that is done when this is answered. */
  askOf(host: SimHost, request: Request, as?: FaultKind): void {
    if (as !== undefined) this.#purposes.set(request, as);
    host.inProcess((brain) => brain.ask(request));
  }

  /** Mostly of a node that thinks it leads; sometimes of any, as users do. Reads of any more. */
  ask(request: Request, as?: FaultKind): void {
    const { hosts } = this.#parts;
    const leaders = hosts.filter((host) => host.leads);
    const share = request.type === 'read' ? 0.5 : 0.1;
    const any = this.#random() < share || leaders.length === 0;
    this.askOf(pick(this.#random, any ? hosts : leaders), request, as);
  }
}

function codeOf(error: unknown): string {
  return error instanceof OperatingError ? error.code : 'a program error';
}
