/**
 * A Node program of the lab that runs inside one namespace and speaks with the test over Node's
 * message channel: requests with one reply each, and events that it sends of its own accord.
 * This file is the test's end; station-child.ts is the program's.
 */
import { fileURLToPath } from 'node:url';
import { Child } from './children.ts';
import { inNamespace } from './namespace.ts';

export interface StationRequest {
  readonly id: number;
  readonly verb: string;
  readonly argument: unknown;
}

export type StationMessage =
  | { readonly kind: 'reply'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failed'; readonly id: number; readonly message: string }
  | { readonly kind: 'event'; readonly name: string; readonly value: unknown };

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export interface StationOptions {
  readonly namespace: string;
  /** File beside this one. */
  readonly program: string;
  /** Handed to the program as JSON. */
  readonly config: unknown;
  readonly logFile: string;
  readonly onEvent?: (name: string, value: unknown) => void;
}

export class Station {
  readonly child: Child;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;

  private constructor(options: StationOptions) {
    const program = fileURLToPath(new URL(options.program, import.meta.url));
    const argv = [process.execPath, program, JSON.stringify(options.config)];
    this.child = new Child(inNamespace(options.namespace, argv), {
      logFile: options.logFile,
      ipc: true,
    });
    this.child.process.on('message', (message) => {
      this.#receive(message as StationMessage, options.onEvent ?? (() => undefined));
    });
    void this.child.ended.then(({ code, signal }) => {
      if (this.#waiting.size === 0) return;
      const cause = new Error(`${options.program} ended (${code ?? signal}):\n${this.child.log()}`);
      for (const { reject } of this.#waiting.values()) reject(cause);
      this.#waiting.clear();
    });
  }

  /** Resolves when the program says that it is ready. */
  static async start(options: StationOptions): Promise<Station> {
    const station = new Station(options);
    await station.request('ready', null);
    return station;
  }

  request(verb: string, argument: unknown): Promise<unknown> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.child.process.send({ id, verb, argument } satisfies StationRequest, (error) => {
        if (error !== null && this.#waiting.delete(id)) reject(error);
      });
    });
  }

  async stop(): Promise<void> {
    this.child.signalGroup('SIGKILL');
    await this.child.ended;
  }

  #receive(message: StationMessage, onEvent: (name: string, value: unknown) => void): void {
    if (message.kind === 'event') {
      onEvent(message.name, message.value);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.kind === 'reply') waiting?.resolve(message.value);
    else waiting?.reject(new Error(message.message));
  }
}
