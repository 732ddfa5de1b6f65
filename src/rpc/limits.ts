/**
 * How much of everything there may be on the wire; what is beyond is refused, dropped or closed.
 */

/** Of every message between nodes; raised when the meaning of one changes. */
export const messageFormatVersion = 1;

/** An append with all its entries; the core is told to stay well below. */
export const maxMessageBytes = 8 * 1024 * 1024;

/** Votes, heartbeats, replies: all small. */
export const maxControlBytes = 64 * 1024;

export const maxSnapshotBytes = 128 * 1024 * 1024;

/** A part of a snapshot: small enough that encrypting one delays a heartbeat by microseconds. */
export const snapshotChunkBytes = 64 * 1024;

export const maxIdChars = 64;
export const maxReasonChars = 256;
export const maxEntriesPerMessage = 65_536;
/** In each list of a configuration. */
export const maxConfigMembers = 64;

/** Documents (spec, status) and answers of the admin and join services. */
export const maxAdminBytes = 4 * 1024 * 1024;
/** A joiner's whole question: token, names, request. */
export const maxJoinBytes = 64 * 1024;
/** An error with its facts, in a trailer: HTTP/2 headers are small. */
export const maxErrorBytes = 6 * 1024;
