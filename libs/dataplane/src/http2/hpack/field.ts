// One decoded header field with what its name means and whether it is allowed, worked out once and kept in the tables.

/** What a name is to HTTP/2. RFC 9113 §8.2, §8.3. */
export const KIND = {
  regular: 0,
  method: 1,
  scheme: 2,
  authority: 3,
  path: 4,
  protocol: 5,
  status: 6,
  /** A pseudo-header nobody defined. */
  unknownPseudo: 7,
  /** Means something to one HTTP/1.1 connection only. RFC 9113 §8.2.2. */
  connection: 8,
  te: 9,
  host: 10,
  contentLength: 11,
  cookie: 12,
  expect: 13,
  contentType: 14,
  /** Upper case, or no token. RFC 9113 §8.2.1. */
  invalid: 15,
} as const;

const KINDS: ReadonlyMap<string, number> = new Map<string, number>([
  [':method', KIND.method],
  [':scheme', KIND.scheme],
  [':authority', KIND.authority],
  [':path', KIND.path],
  [':protocol', KIND.protocol],
  [':status', KIND.status],
  ['connection', KIND.connection],
  ['proxy-connection', KIND.connection],
  ['keep-alive', KIND.connection],
  ['transfer-encoding', KIND.connection],
  ['upgrade', KIND.connection],
  ['te', KIND.te],
  ['host', KIND.host],
  ['content-length', KIND.contentLength],
  ['cookie', KIND.cookie],
  ['expect', KIND.expect],
  ['content-type', KIND.contentType],
]);

/** A field as the decoder keeps it. */
export class Field {
  readonly name: string;
  readonly value: string;
  readonly kind: number;
  /** The value may stand under this name. */
  readonly isValid: boolean;
  /** RFC 7541 §4.1: octets of name and value, and 32. */
  readonly sizeBytes: number;

  constructor(name: string, value: string, kind: number) {
    this.name = name;
    this.value = value;
    this.kind = kind;
    this.isValid = kind !== KIND.invalid && isValidValue(kind, value);
    this.sizeBytes = name.length + value.length + 32;
  }
}

// tchar of RFC 9110 §5.6.2 without upper case: bit 1; upper-case letters, allowed in a method: bit 2; what a path may hold: 4; an
// authority: 8.
const CLASS = new Uint8Array(256);
for (const c of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") CLASS[c.charCodeAt(0)] = 3;
for (const c of 'ABCDEFGHIJKLMNOPQRSTUVWXYZ') CLASS[c.charCodeAt(0)] = 2;
for (let c = 0x21; c < 0x7f; c++) if (c !== 0x23) CLASS[c] = (CLASS[c] ?? 0) | 4;
for (const c of "!$%&'()*+,-.:;=[]_~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") CLASS[c.charCodeAt(0)] = (CLASS[c.charCodeAt(0)] ?? 0) | 8;

/** The kind of a name, `KIND.invalid` for one that may not be sent in HTTP/2. */
export function kindOf(name: string): number {
  const known = KINDS.get(name);
  if (known !== undefined) return known;
  if (name.charCodeAt(0) === 0x3a) return KIND.unknownPseudo;
  return isAll(name, 1) ? KIND.regular : KIND.invalid;
}

function isAll(text: string, bit: number): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c > 0xff || ((CLASS[c] as number) & bit) === 0) return false;
  }
  return text.length > 0;
}

function isValidValue(kind: number, value: string): boolean {
  switch (kind) {
    case KIND.method:
      return isAll(value, 2);
    case KIND.protocol:
      return isAll(value, 2);
    case KIND.path:
      return isAll(value, 4);
    case KIND.authority:
    case KIND.host:
      return value === '' || isAll(value, 8);
    case KIND.scheme:
      return value === 'http' || value === 'https';
    case KIND.status:
      return /^[1-9][0-9][0-9]$/.test(value);
    case KIND.contentLength:
      return /^[0-9]{1,15}$/.test(value);
    case KIND.te:
      return value === 'trailers';
    default:
      return isFieldValue(value);
  }
}

/** No control octet but the tab, and no white space at either end. RFC 9113 §8.2.1, RFC 9110 §5.5. */
export function isFieldValue(value: string): boolean {
  const length = value.length;
  if (length === 0) return true;
  for (let i = 0; i < length; i++) {
    const c = value.charCodeAt(i);
    if (c < 0x20 ? c !== 9 : c === 0x7f || c > 0xff) return false;
  }
  const first = value.charCodeAt(0);
  const last = value.charCodeAt(length - 1);
  return first !== 0x20 && first !== 9 && last !== 0x20 && last !== 9;
}
