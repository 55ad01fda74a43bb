// Which octets may stand where in an HTTP/1.1 message, as tables, and the names of header fields met often.

function table(allowed: (octet: number) => boolean): Uint8Array {
  const out = new Uint8Array(256);
  for (let i = 0; i < 256; i++) out[i] = allowed(i) ? 1 : 0;
  return out;
}

const MARKS = "!#$%&'*+-.^_`|~";

/** For an octet of a token its lower-case form, else 0. Source: RFC 9110 §5.6.2. */
export const TOKEN_LOWER: Uint8Array = Uint8Array.from({ length: 256 }, (_, i) => {
  const c = String.fromCharCode(i);
  if (i >= 128) return 0;
  return /[0-9A-Za-z]/.test(c) || MARKS.includes(c) ? c.toLowerCase().charCodeAt(0) : 0;
});

/** 1 for what may stand in a field value: visible octets, obs-text, space and tab. Source: RFC 9110 §5.5. */
export const FIELD_OCTET: Uint8Array = table((i) => i === 0x09 || (i >= 0x20 && i !== 0x7f));

/** 1 for what may stand in a request target: visible ASCII but `#`, which starts a fragment that no client may send. */
export const TARGET_OCTET: Uint8Array = table((i) => i > 0x20 && i < 0x7f && i !== 0x23);

/** 1 for what may stand in the host of an authority: names and dotted numbers; no escapes, no lists, no user names. */
export const HOST_OCTET: Uint8Array = table((i) => /[0-9A-Za-z._~-]/.test(String.fromCharCode(i)) && i < 128);

/** The value of a hexadecimal digit, else 255. */
export const HEX_VALUE: Uint8Array = Uint8Array.from({ length: 256 }, (_, i) => (i < 128 && /[0-9A-Fa-f]/.test(String.fromCharCode(i)) ? Number.parseInt(String.fromCharCode(i), 16) : 255));

/** Numbers of the names that decide framing or end at this hop; every other name has a number of `OTHER` or above, or -1. */
export const FIELD = {
  host: 0,
  contentLength: 1,
  transferEncoding: 2,
  connection: 3,
  upgrade: 4,
  expect: 5,
  keepAlive: 6,
  proxyConnection: 7,
  te: 8,
  proxyAuthenticate: 9,
  proxyAuthorization: 10,
  http2Settings: 11,
  other: 12,
} as const;

/** Interned names by number. */
export const FIELD_NAMES: readonly string[] = [
  'host', 'content-length', 'transfer-encoding', 'connection', 'upgrade', 'expect', 'keep-alive', 'proxy-connection', 'te', 'proxy-authenticate', 'proxy-authorization', 'http2-settings',
  'accept', 'accept-charset', 'accept-encoding', 'accept-language', 'accept-ranges', 'access-control-allow-credentials', 'access-control-allow-headers', 'access-control-allow-methods',
  'access-control-allow-origin', 'access-control-expose-headers', 'access-control-max-age', 'access-control-request-headers', 'access-control-request-method', 'age', 'allow', 'alt-svc',
  'authorization', 'baggage', 'cache-control', 'content-disposition', 'content-encoding', 'content-language', 'content-location', 'content-range', 'content-security-policy', 'content-type',
  'cookie', 'date', 'dnt', 'etag', 'expires', 'forwarded', 'from', 'grpc-encoding', 'grpc-message', 'grpc-status', 'grpc-timeout', 'if-match', 'if-modified-since', 'if-none-match', 'if-range',
  'if-unmodified-since', 'last-modified', 'link', 'location', 'origin', 'pragma', 'priority', 'range', 'referer', 'referrer-policy', 'retry-after', 'sec-fetch-dest', 'sec-fetch-mode',
  'sec-fetch-site', 'sec-websocket-accept', 'sec-websocket-extensions', 'sec-websocket-key', 'sec-websocket-protocol', 'sec-websocket-version', 'server', 'set-cookie',
  'strict-transport-security', 'traceparent', 'tracestate', 'trailer', 'upgrade-insecure-requests', 'user-agent', 'vary', 'via', 'www-authenticate', 'x-content-type-options',
  'x-envoy-upstream-service-time', 'x-forwarded-client-cert', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-frame-options', 'x-powered-by', 'x-real-ip', 'x-request-id',
];

const SLOTS = 2048;
/** Numbers of names by hash, linear probing; -1 ends a run. */
const SLOT_OF = new Int16Array(SLOTS).fill(-1);
const NAME_OCTETS: readonly Uint8Array[] = FIELD_NAMES.map((name) => Buffer.from(name, 'latin1'));
for (let id = 0; id < FIELD_NAMES.length; id++) {
  let hash = 0;
  for (const octet of NAME_OCTETS[id] as Uint8Array) hash = (Math.imul(hash, 31) + octet) | 0;
  let slot = hash & (SLOTS - 1);
  while (SLOT_OF[slot] !== -1) slot = (slot + 1) & (SLOTS - 1);
  SLOT_OF[slot] = id;
}

/** The number of the name at `[start, end)` whose lower-case octets hash to `hash` (31 h + c), or -1. */
export function fieldNumber(bytes: Uint8Array, start: number, end: number, hash: number): number {
  for (let slot = hash & (SLOTS - 1); ; slot = (slot + 1) & (SLOTS - 1)) {
    const id = SLOT_OF[slot] as number;
    if (id === -1) return -1;
    const name = NAME_OCTETS[id] as Uint8Array;
    if (name.length !== end - start) continue;
    let k = 0;
    while (k < name.length && TOKEN_LOWER[bytes[start + k] as number] === name[k]) k++;
    if (k === name.length) return id;
  }
}

type Latin1 = { latin1Slice(start: number, end: number): string; latin1Write(text: string, at: number): number };

/** `[start, end)` as text, one character for each octet. Node's own method, without the look-up of an encoding's name. */
export function latin1(bytes: Buffer, start: number, end: number): string {
  return (bytes as unknown as Latin1).latin1Slice(start, end);
}

/** Writes text at an offset; returns how many octets. */
export function writeLatin1(into: Buffer, text: string, at: number): number {
  return (into as unknown as Latin1).latin1Write(text, at);
}
