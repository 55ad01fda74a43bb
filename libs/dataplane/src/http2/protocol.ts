// The numbers of HTTP/2: frame types, flags, error codes, settings, and the words this codec refuses with.

/** RFC 9113 §6. */
export const FRAME = { data: 0, headers: 1, priority: 2, rstStream: 3, settings: 4, pushPromise: 5, ping: 6, goaway: 7, windowUpdate: 8, continuation: 9 } as const;

/** RFC 9113 §6; `ack` of SETTINGS and PING is the same bit as `endStream`. */
export const FLAG = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

/** RFC 9113 §7. */
export const ERROR = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSize: 6,
  refusedStream: 7,
  cancel: 8,
  compression: 9,
  connect: 10,
  enhanceYourCalm: 11,
  inadequateSecurity: 12,
  http11Required: 13,
} as const;

const ERROR_NAMES = [
  'NO_ERROR', 'PROTOCOL_ERROR', 'INTERNAL_ERROR', 'FLOW_CONTROL_ERROR', 'SETTINGS_TIMEOUT', 'STREAM_CLOSED', 'FRAME_SIZE_ERROR', 'REFUSED_STREAM',
  'CANCEL', 'COMPRESSION_ERROR', 'CONNECT_ERROR', 'ENHANCE_YOUR_CALM', 'INADEQUATE_SECURITY', 'HTTP_1_1_REQUIRED',
];

/** The RFC's name of an error code, or its number for one nobody defined. */
export function errorName(code: number): string {
  return ERROR_NAMES[code] ?? `error ${code}`;
}

/** RFC 9113 §6.5.2; RFC 8441 §3. */
export const SETTING = { headerTableSize: 1, enablePush: 2, maxConcurrentStreams: 3, initialWindowSize: 4, maxFrameSize: 5, maxHeaderListSize: 6, enableConnectProtocol: 8 } as const;

/** What a client sends first. RFC 9113 §3.4. */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** Octets of a frame's head. RFC 9113 §4.1. */
export const HEAD_BYTES = 9;
/** The largest payload this codec takes, which is the default nobody may go below. RFC 9113 §6.5.2. */
export const MAX_FRAME_BYTES = 16_384;
/** Flow-control windows before any SETTINGS. RFC 9113 §6.9.2. */
export const DEFAULT_WINDOW_BYTES = 65_535;
/** No window may pass this. RFC 9113 §6.9.1. */
export const MAX_WINDOW_BYTES = 0x7fff_ffff;
/** Highest stream identifier. RFC 9113 §5.1.1. */
export const MAX_STREAM_ID = 0x7fff_ffff;

/** Why a connection or a stream was refused: what `onRefused` may say, closed so that it can be a metric's label. */
export const REFUSALS = [
  'h2-preface',
  'h2-protocol',
  'h2-frame-size',
  'h2-flow-control',
  'h2-compression',
  'h2-stream-closed',
  'h2-malformed',
  'h2-header-limit',
  'h2-continuation-flood',
  'h2-stream-limit',
  'h2-rapid-reset',
  'h2-control-flood',
  'h2-empty-flood',
  'h2-unread',
  'h2-head-timeout',
  'h2-idle-timeout',
] as const;

/** One of `REFUSALS`. */
export type Refusal = (typeof REFUSALS)[number];

/** A rule that the peer broke: the code it hears, the word it is counted by, and what it did. */
export type Breach = { readonly code: number; readonly refusal: Refusal; readonly detail: string };

/** `code` is one of `ERROR`. */
export function breach(code: number, refusal: Refusal, detail: string): Breach {
  return { code, refusal, detail };
}
