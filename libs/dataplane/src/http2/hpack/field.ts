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

// What an octet may be part of, a bit for each; a name in HTTP/2 is a token (RFC 9110 §5.6.2) without upper case.
const IN_NAME = 1;
const IN_TOKEN = 2;
const IN_PATH = 4;
const IN_AUTHORITY = 8;
const OCTETS = new Uint8Array(256);
function allow(octets: string, bits: number): void {
  for (const octet of octets) OCTETS[octet.charCodeAt(0)] = (OCTETS[octet.charCodeAt(0)] as number) | bits;
}
const UPPER = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
const LOWER = 'abcdefghijklmnopqrstuvwxyz';
const DIGITS = '0123456789';
allow(`!#$%&'*+-.^_\`|~${DIGITS}${LOWER}`, IN_NAME | IN_TOKEN);
allow(UPPER, IN_TOKEN);
allow(`!$%&'()*+,-.:;=[]_~${DIGITS}${UPPER}${LOWER}`, IN_AUTHORITY);
for (let c = 0x21; c < 0x7f; c++) if (c !== 0x23) allow(String.fromCharCode(c), IN_PATH);

/** The kind of a name, `KIND.invalid` for one that may not be sent in HTTP/2. */
export function kindOf(name: string): number {
  const known = KINDS.get(name);
  if (known !== undefined) return known;
  if (name.charCodeAt(0) === 0x3a) return KIND.unknownPseudo;
  return isAll(name, IN_NAME) ? KIND.regular : KIND.invalid;
}

function isAll(text: string, bit: number): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c > 0xff || ((OCTETS[c] as number) & bit) === 0) return false;
  }
  return text.length > 0;
}

function isValidValue(kind: number, value: string): boolean {
  switch (kind) {
    case KIND.method:
    case KIND.protocol:
      return isAll(value, IN_TOKEN);
    case KIND.path:
      return isAll(value, IN_PATH);
    case KIND.authority:
    case KIND.host:
      return value === '' || isAll(value, IN_AUTHORITY);
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
