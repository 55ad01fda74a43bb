// What to answer to one DNS query: pure, from bytes to bytes.
import { type Answer, AUTHORITATIVE_ANSWER, decode, encode, type Packet, type Question, TRUNCATED_RESPONSE } from 'dns-packet';

export type Lookup = (name: string) => string | undefined;

export type Answered = { readonly rcode: 'NOERROR' | 'NXDOMAIN' | 'REFUSED' | 'FORMERR' | 'NOTIMP' | 'dropped'; readonly bytes: Buffer | undefined };

/** Kubernetes' multi-cluster zone (KEP-1645). */
export const ZONE = 'clusterset.local';
/** Short, so that a caller follows a change of address; the address itself seldom changes. */
const TTL_SECONDS = 5;
const HEADER_BYTES = 12;
/** Of each kind; a query has one question and an OPT record. */
const MAX_RECORDS = 16;
const MIN_UDP_BYTES = 512;
const MAX_UDP_BYTES = 1_232;
const RCODES = { NOERROR: 0, FORMERR: 1, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;

/**
 * Answers A for names of the zone, nothing (with SOA) for their other types, NXDOMAIN (with SOA) for unknown names,
 * REFUSED for other zones. The question is echoed as it came, so that 0x20 case checks hold. `maxBytes` 0 means UDP:
 * 512, or what EDNS0 offers up to 1232, then TC. What is no query is not answered. Source: RFC 1035, 2308, 6891.
 */
export function answerQuery(query: Buffer, lookup: Lookup, maxBytes: number): Answered {
  const packet = parse(query);
  if (packet === undefined) return { rcode: 'dropped', bytes: undefined };
  const [question, ...more] = packet.questions ?? [];
  const isOne = question !== undefined && more.length === 0 && isEchoExact(question, query);
  // Opcode 0 is a standard query (RFC 1035 §4.1.1).
  if (((query.readUInt16BE(2) >> 11) & 15) !== 0) return finish(isOne ? packet : { ...packet, questions: [] }, 'NOTIMP', [], [], query, maxBytes);
  if (!isOne) return finish({ ...packet, questions: [] }, 'FORMERR', [], [], query, maxBytes);
  const name = question.name.toLowerCase();
  if (name !== ZONE && !name.endsWith(`.${ZONE}`)) return finish(packet, 'REFUSED', [], [], query, maxBytes);
  const address = name === ZONE ? undefined : lookup(name);
  if (address === undefined && !isAboveNames(name)) return finish(packet, 'NXDOMAIN', [], [soa()], query, maxBytes);
  const isAsked = (question.type === 'A' || (question.type as string) === 'ANY') && question.class === 'IN';
  if (address === undefined || !isAsked) return finish(packet, 'NOERROR', [], [soa()], query, maxBytes);
  return finish(packet, 'NOERROR', [{ type: 'A', name: question.name, ttl: TTL_SECONDS, data: address }], [], query, maxBytes);
}

/**
 * `clusterset.local`, `svc.clusterset.local` and `<namespace>.svc.clusterset.local` have names below them: NXDOMAIN there
 * would tell a resolver that those do not exist either (RFC 8020 §2). Which namespaces there are is not told.
 */
function isAboveNames(name: string): boolean {
  return name === ZONE || name === `svc.${ZONE}` || (name.endsWith(`.svc.${ZONE}`) && !name.slice(0, -`.svc.${ZONE}`.length).includes('.'));
}

/**
 * Whether the question would go back as it came. One with bytes that are no text, a dot within a label or a pointer
 * would not, and names no service here.
 */
function isEchoExact(question: Question, query: Buffer): boolean {
  const echo = encode({ type: 'query', questions: [question] }).subarray(HEADER_BYTES);
  return echo.equals(query.subarray(HEADER_BYTES, HEADER_BYTES + echo.length));
}

function parse(query: Buffer): Packet | undefined {
  // The decoder makes room for as many records as the header promises before it reads one.
  if (query.length < HEADER_BYTES || [4, 6, 8, 10].some((at) => query.readUInt16BE(at) > MAX_RECORDS)) return undefined;
  try {
    const packet = decode(query);
    return packet.type === 'query' ? packet : undefined;
  } catch {
    return undefined;
  }
}

function soa(): Answer {
  return {
    type: 'SOA',
    name: ZONE,
    ttl: TTL_SECONDS,
    data: { mname: `ns.${ZONE}`, rname: `hostmaster.${ZONE}`, serial: 1, refresh: 3_600, retry: 600, expire: 86_400, minimum: TTL_SECONDS },
  };
}

function finish(query: Packet, rcode: keyof typeof RCODES, answers: Answer[], authorities: Answer[], bytes: Buffer, maxBytes: number): Answered {
  const questions: Question[] = query.questions ?? [];
  const offered = (query.additionals ?? []).find((a) => a.type === 'OPT') as { readonly udpPayloadSize?: number } | undefined;
  const limit = maxBytes > 0 ? maxBytes : Math.min(MAX_UDP_BYTES, Math.max(MIN_UDP_BYTES, offered?.udpPayloadSize ?? MIN_UDP_BYTES));
  const additionals = offered === undefined ? [] : [{ type: 'OPT', name: '.', udpPayloadSize: MAX_UDP_BYTES, flags: 0, options: [] } as unknown as Answer];
  const recursionDesired = (query.flags ?? 0) & 0x0100;
  const flags = AUTHORITATIVE_ANSWER | recursionDesired | RCODES[rcode];
  const whole: Packet = { type: 'response', id: bytes.readUInt16BE(0), flags, questions, answers, authorities, additionals };
  const encoded = encode(whole);
  if (encoded.length <= limit) return { rcode, bytes: encoded };
  return { rcode, bytes: encode({ ...whole, flags: flags | TRUNCATED_RESPONSE, answers: [], authorities: [], additionals: [] }) };
}
