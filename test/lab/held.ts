/** Connections held open and silent, from the test's side. */
import type { HeldConfig, HeldReport, SpeakReport } from './held-child.ts';
import type { Host } from './host.ts';
import { Station } from './station.ts';

export class Held {
  readonly #station: Station;

  private constructor(station: Station) {
    this.#station = station;
  }

  /** Resolves when all of them have been served once. */
  static async open(from: Host, config: HeldConfig): Promise<Held> {
    const station = await Station.start({
      namespace: from.namespace,
      program: 'held-child.ts',
      config,
      logFile: `${from.directory}/held.log`,
    });
    from.adopt(station.child);
    return new Held(station);
  }

  /** Sends a line on each, and waits for its answer or the connection's end. */
  async speak(waitMs: number): Promise<SpeakReport> {
    return (await this.#station.request('speak', waitMs)) as SpeakReport;
  }

  async report(): Promise<HeldReport> {
    return (await this.#station.request('report', null)) as HeldReport;
  }

  stop(): Promise<void> {
    return this.#station.stop();
  }
}
