// What capture is to do on this machine, checked: from the agent's settings and the machine's own addresses to one plan.
import { isIPv4, isIPv6 } from 'node:net';
import { type Static, strict, Type } from '@isthmus/model';
import { fail } from '../errors.ts';
import { DEFAULT_ADDRESS_RANGE, ipv4Number, ipv4Range, type Ipv4Range, isWithin } from './range.ts';

const port = Type.Integer({ minimum: 1, maximum: 65_535 });
/** Where the agent listens for what was redirected, and where it answers captured queries. */
export const CAPTURE_HOST = '127.0.0.1';
export const CAPTURE_PORT = 15_001;
/** Linux's own limit (resolv.conf(5): MAXNS). */
const MAX_NAMESERVERS = 3;

/** The settings under `capture`: read by the agent, and by the root step that puts the rules in force. */
export const captureSchema = strict({
  port: Type.Optional(Type.Integer({ minimum: 1_024, maximum: 65_535, default: CAPTURE_PORT, description: 'port on 127.0.0.1 that connections to mesh addresses are redirected to' })),
  user: Type.Optional(Type.String({ default: 'isthmus', pattern: '^[a-z_][a-z0-9_-]{0,31}$|^[0-9]{1,10}$', description: 'user the agent runs as, by name or number: what it sends is never captured' })),
  dns: Type.Optional(Type.Boolean({ default: false, description: 'also take the queries that go to the machine’s nameservers: mesh names are answered, all others passed on' })),
  nameservers: Type.Optional(Type.Array(Type.String({ maxLength: 45 }), { minItems: 1, maxItems: MAX_NAMESERVERS, description: 'the machine’s nameservers, for the same (default: those of /etc/resolv.conf)' })),
  inbound: Type.Optional(
    Type.Array(strict({ port: { ...port, description: 'where the application listens' }, to: { ...port, description: 'the agent’s inbound listener for it' } }), {
      maxItems: 256,
      description: 'connections from other machines to an application’s port go to the agent’s inbound listener: without mutual TLS nobody comes in',
    }),
  ),
});
export type CaptureSettings = Static<typeof captureSchema>;

/** What the plan is made of besides `capture` itself. */
export type CaptureSurroundings = {
  /** The setting `outbound.addressRange`. */
  readonly addressRange: string | undefined;
  /** The setting `dns.port`; undefined where the agent answers no names. */
  readonly dnsPort: number | undefined;
  /** The setting `inbound.host`. */
  readonly inboundHost: string | undefined;
  /** Of the agent's user. */
  readonly uid: number;
  /** Text of /etc/resolv.conf. */
  readonly resolvConf: string;
  /** Addresses of this machine's interfaces. */
  readonly ownAddresses: readonly string[];
};

/** What the rules are made from. */
export type CapturePlan = {
  readonly range: Ipv4Range;
  readonly port: number;
  readonly uid: number;
  readonly dns: { readonly port: number; readonly nameservers: readonly string[] } | undefined;
  readonly inbound: readonly { readonly port: number; readonly to: number }[];
  /** Address of the inbound listeners; undefined: every one. */
  readonly inboundHost: string | undefined;
};

/** **Throws** DATAPLANE_CAPTURE_INVALID that says which setting cannot be, and why. */
export function planCapture(settings: CaptureSettings, around: CaptureSurroundings): CapturePlan {
  if (around.uid === 0) throw invalid('capture.user is root, whose own connections would go uncaptured', 'let the agent run as a user of its own');
  const range = ipv4Range(around.addressRange ?? DEFAULT_ADDRESS_RANGE);
  if (range === undefined) throw invalid(`outbound.addressRange ${around.addressRange ?? ''} is no IPv4 range between /8 and /30`);
  for (const address of ['127.0.0.1', ...around.ownAddresses]) {
    if (isIPv4(address) && isWithin(range, ipv4Number(address))) {
      throw invalid(`outbound.addressRange ${range.text} holds ${address}, an address of this machine: connections to it would go to the mesh`, `choose another range; ${DEFAULT_ADDRESS_RANGE} is free on most machines`);
    }
  }
  const capturePort = settings.port ?? CAPTURE_PORT;
  const inbound = settings.inbound ?? [];
  const inboundHost = hostOfInbound(inbound.length > 0, around.inboundHost);
  for (const [i, rule] of inbound.entries()) {
    if (rule.port === rule.to) throw invalid(`capture.inbound[${i}] sends port ${rule.port} to itself`);
    if (inbound.findIndex((other) => other.port === rule.port) !== i) throw invalid(`capture.inbound[${i}]: port ${rule.port} is named twice`);
  }
  return { range, port: capturePort, uid: around.uid, dns: settings.dns === true ? dnsPlan(settings, around, range) : undefined, inbound, inboundHost };
}

function dnsPlan(settings: CaptureSettings, around: CaptureSurroundings, range: Ipv4Range): NonNullable<CapturePlan['dns']> {
  if (around.dnsPort === undefined || around.dnsPort === 0) throw invalid('capture.dns needs the agent to answer names on a port that is named', 'add dns: { host: 127.0.0.1, port: 5353 }');
  const nameservers = settings.nameservers ?? nameserversOf(around.resolvConf);
  if (nameservers.length === 0) throw invalid('capture.dns: /etc/resolv.conf names no nameserver that queries could be passed on to', 'name them in capture.nameservers');
  for (const address of nameservers) {
    if (!isPlainAddress(address)) throw invalid(`capture.nameservers: ${address} is no address`);
    if (isIPv4(address) && isWithin(range, ipv4Number(address))) throw invalid(`capture.nameservers: ${address} is within outbound.addressRange ${range.text}`);
    if (around.dnsPort === 53 && (address === CAPTURE_HOST || address === '::1')) throw invalid(`capture.nameservers: ${address} is the agent itself, which cannot pass queries on to itself`, 'name the servers behind it in capture.nameservers');
  }
  return { port: around.dnsPort, nameservers };
}

function hostOfInbound(isWanted: boolean, host: string | undefined): string | undefined {
  if (!isWanted || host === '0.0.0.0' || host === '::') return undefined;
  if (host === undefined || !isIPv4(host) || host.startsWith('127.')) {
    throw invalid(`capture.inbound needs inbound.host to be an IPv4 address that other machines reach, not ${host ?? '127.0.0.1'}`, 'set inbound.host to this machine’s address, or to 0.0.0.0');
  }
  return host;
}

/** Of a zone (fe80::1%eth0) anything may be the text, and these become part of rules. */
const isPlainAddress = (address: string): boolean => isIPv4(address) || (isIPv6(address) && !address.includes('%'));

/** The servers of a resolv.conf, as libc uses them: the first three. Addresses with a zone are left out. */
export function nameserversOf(resolvConf: string): readonly string[] {
  const found = resolvConf.split('\n').flatMap((line) => {
    const address = /^nameserver\s+(\S+)/.exec(line)?.[1];
    return address !== undefined && isPlainAddress(address) ? [address] : [];
  });
  return [...new Set(found)].slice(0, MAX_NAMESERVERS);
}

const invalid = (message: string, hint?: string): Error => fail('DATAPLANE_CAPTURE_INVALID', message, hint === undefined ? {} : { hint });
