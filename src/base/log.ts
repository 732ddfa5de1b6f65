/**
 * Logging: transitions and decisions as named events with fields. Event names are API. Secrets
 * never get here: nothing logs tokens, keys or whole requests.
 */
import { type BaseLogger, type DestinationStream, pino } from 'pino';

export type Fields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(event: string, fields?: Fields): void;
  info(event: string, fields?: Fields): void;
  warn(event: string, fields?: Fields): void;
  error(event: string, fields?: Fields): void;
  /** A logger whose lines all carry `fields`. */
  child(fields: Fields): Logger;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface LogOptions {
  readonly level: LogLevel;
  /** `text`: a readable line for terminals and journald; `json`: one object a line. */
  readonly format: 'text' | 'json';
  /** Where lines go; standard error unless told otherwise. */
  readonly write?: (line: string) => void;
}

export function createLogger(options: LogOptions): Logger {
  const write = options.write ?? ((line: string) => void process.stderr.write(line));
  const destination: DestinationStream = {
    write: options.format === 'json' ? write : (line) => write(readable(line)),
  };
  const root = pino(
    {
      level: options.level,
      base: null,
      messageKey: 'event',
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  return wrap(root);
}

/** Swallows everything: for tests and for commands that only print. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};

/** The part of pino that is used here: its full type depends on its options. */
type Sink = Pick<BaseLogger, 'debug' | 'info' | 'warn' | 'error'> & { child(fields: Fields): Sink };

function wrap(target: Sink): Logger {
  return {
    debug: (event, fields = {}) => target.debug(fields, event),
    info: (event, fields = {}) => target.info(fields, event),
    warn: (event, fields = {}) => target.warn(fields, event),
    error: (event, fields = {}) => target.error(fields, event),
    child: (fields) => wrap(target.child(fields)),
  };
}

/** `2026-01-01T00:00:00.000Z INFO  vip.claimed vip=10.0.0.100 term=3` */
function readable(line: string): string {
  const { level, time, event, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const words = Object.entries(fields).map(([key, value]) => `${key}=${word(value)}`);
  return `${[time, String(level).toUpperCase().padEnd(5), event, ...words].join(' ')}\n`;
}

function word(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /[\s"=]/.test(text) ? JSON.stringify(text) : text;
}
