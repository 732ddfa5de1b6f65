/** Plain counters of the transport, for metrics and for the tests that measure. */
import type { MessageClass } from './codec.ts';

export interface ClassCounters {
  sentMessages: number;
  sentBytes: number;
  droppedMessages: number;
  receivedMessages: number;
  receivedBytes: number;
}

export type TransportCounters = Record<MessageClass, ClassCounters> & {
  /** Connections begun. */
  dials: number;
};

export function zeroCounters(): TransportCounters {
  const zero = (): ClassCounters => ({
    sentMessages: 0,
    sentBytes: 0,
    droppedMessages: 0,
    receivedMessages: 0,
    receivedBytes: 0,
  });
  return { control: zero(), log: zero(), snapshot: zero(), dials: 0 };
}
