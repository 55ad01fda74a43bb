// The nftables rules of a capture plan, as text for `nft -f`: pure. One table of our own, replaced whole or not at all.
import { isIPv4 } from 'node:net';
import type { CapturePlan } from './plan.ts';
import { isLoopback } from './range.ts';

/** The one table that is ever touched. */
export const CAPTURE_TABLE = 'isthmus';
/** Where the agent says that it lives. Nobody needs to listen there: the rules see the packet and drop it, which the sender is told (EPERM). */
export const HEARTBEAT = { host: '127.53.53.53', port: 53 } as const;
/** Where it says that it ends: queries go their usual way at once. */
export const FAREWELL = { host: '127.53.53.54', port: HEARTBEAT.port } as const;
/** How long queries are taken after a sign of life; the agent gives one a second. */
const ALIVE_SECONDS = 4;

/**
 * Creates the table where it is missing first, so that deleting it cannot fail; then all of it anew, in one transaction.
 * `isAnswering`: the agent gave a sign of life to the rules that are replaced, and queries go on being taken.
 */
export function captureRules(plan: CapturePlan, options: { readonly isAnswering?: boolean } = {}): string {
  return `table inet ${CAPTURE_TABLE}
delete table inet ${CAPTURE_TABLE}
${captureTable(plan, options)}`;
}

/** Whether `nft list set inet isthmus answering` shows that queries are taken now. */
export const isAnsweringIn = (listing: string): boolean => /elements = \{ (domain|53)\b/.test(listing);

/** The same transaction without the table. Succeeds whether or not there was one. */
export const removalRules = (): string => `table inet ${CAPTURE_TABLE}\ndelete table inet ${CAPTURE_TABLE}\n`;

/** The table alone, as `nft list table` would show it. */
export function captureTable(plan: CapturePlan, { isAnswering = false }: { readonly isAnswering?: boolean } = {}): string {
  const { uid, range, port, dns } = plan;
  // Before the usual -100, at which container runtimes hook in: the first table that rewrites a connection's address wins.
  const before = 'priority -110; policy accept;';
  return `table inet ${CAPTURE_TABLE} {
${dns === undefined ? '' : dnsSets(dns.nameservers, isAnswering)}  chain outbound {
    type nat hook output ${before}
    meta skuid ${uid} return
    meta l4proto tcp ip daddr ${range.text} redirect to :${port}
${dns === undefined ? '' : dnsRules(dns)}  }
${heartbeatChain(plan)}${guardChain(plan)}${inboundChain(plan, before)}}
`;
}

/** `answering` holds port 53 for as long as the agent gives signs of life, and nothing otherwise. */
function dnsSets(nameservers: readonly string[], isAnswering: boolean): string {
  const set = (name: string, type: string, elements: readonly string[]): string => (elements.length === 0 ? '' : `  set ${name} {\n    type ${type}\n    elements = { ${elements.join(', ')} }\n  }\n`);
  return `  set answering {
    type inet_service
    size 4
    flags dynamic,timeout
    timeout ${ALIVE_SECONDS}s${isAnswering ? `\n    elements = { ${HEARTBEAT.port} }` : ''}
  }
${set('nameservers4', 'ipv4_addr', nameservers.filter((a) => isIPv4(a)))}${set('nameservers6', 'ipv6_addr', nameservers.filter((a) => !isIPv4(a)))}`;
}

function dnsRules({ port, nameservers }: NonNullable<CapturePlan['dns']>): string {
  const rule = (family: 'ip' | 'ip6', set: string): string => `    ${family} daddr @${set} meta l4proto { tcp, udp } th dport 53 th dport @answering redirect to :${port}\n`;
  return `${nameservers.some((a) => isIPv4(a)) ? rule('ip', 'nameservers4') : ''}${nameservers.some((a) => !isIPv4(a)) ? rule('ip6', 'nameservers6') : ''}`;
}

/** What is dropped here tells the agent that the rules are there; the set notes when it last did. */
function heartbeatChain({ uid, dns }: CapturePlan): string {
  const note = dns === undefined ? '' : `update @answering { udp dport timeout ${ALIVE_SECONDS}s } `;
  const forget = dns === undefined ? '' : `\n    meta skuid ${uid} ip daddr ${FAREWELL.host} udp dport ${FAREWELL.port} delete @answering { udp dport } drop`;
  return `  chain heartbeat {
    type filter hook output priority mangle; policy accept;
    meta skuid ${uid} ip daddr ${HEARTBEAT.host} udp dport ${HEARTBEAT.port} ${note}drop${forget}
  }
`;
}

/** What cannot be redirected must not leave the machine towards whoever has such an address outside. */
function guardChain({ range }: CapturePlan): string {
  if (isLoopback(range)) return '';
  return `  chain guard {
    type filter hook output priority filter; policy accept;
    ip daddr ${range.text} reject
  }
`;
}

function inboundChain({ inbound, inboundHost }: CapturePlan, before: string): string {
  if (inbound.length === 0) return '';
  const target = (to: number): string => (inboundHost === undefined ? `redirect to :${to}` : `dnat ip to ${inboundHost}:${to}`);
  const family = inboundHost === undefined ? '' : 'meta nfproto ipv4 ';
  const rules = inbound.map(({ port, to }) => `    iifname != "lo" fib daddr type local ${family}tcp dport ${port} ${target(to)}\n`).join('');
  // Its listener is on an IPv4 address: over IPv6 the application would stand open.
  const closed = inboundHost === undefined ? '' : `  chain closed {
    type filter hook input priority filter; policy accept;
    iifname != "lo" meta nfproto ipv6 tcp dport { ${inbound.map(({ port }) => port).join(', ')} } reject with tcp reset
  }
`;
  return `  chain inbound {
    type nat hook prerouting ${before}
${rules}  }
${closed}`;
}
