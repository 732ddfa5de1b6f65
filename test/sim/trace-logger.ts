/** The product's log as lines of the trace. */
import type { Fields, Logger } from '../../src/base/log.ts';

export function traceLogger(note: (text: string) => void): Logger {
  const line = (event: string, fields: Fields = {}): void => {
    const words = Object.entries(fields).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
    note(`log ${[event, ...words].join(' ')}`);
  };
  return {
    debug: () => undefined,
    info: line,
    warn: line,
    error: line,
    child: () => traceLogger(note),
  };
}
