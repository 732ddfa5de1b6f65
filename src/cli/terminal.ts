/** The person or script in front of a command, as an argument, so that tests can be one. */

export interface Terminal {
  /** Results: what a script reads. */
  out(text: string): void;
  /** Everything else: progress, warnings, errors. */
  err(text: string): void;
  /** Whether results are read by a person, on a screen. */
  readonly isScreen: boolean;
  /** All of standard input, for `-f -` and `--token-file -`. */
  readInput(): Promise<string>;
}

/** Bounds what is read from standard input: a spec or a token, not a disk. */
const maxInputBytes = 4 * 1024 * 1024;

export function systemTerminal(): Terminal {
  // A reader that has seen enough (`| head`) is no failure of ours.
  process.stdout.on('error', () => undefined);
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    isScreen: process.stdout.isTTY === true,
    async readInput() {
      const chunks: Buffer[] = [];
      let bytes = 0;
      for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > maxInputBytes) break;
      }
      return Buffer.concat(chunks).subarray(0, maxInputBytes).toString('utf8');
    },
  };
}
