// Transparent capture as the agent sees it: its listener, the addresses that services have there, and whether the rules are in force.
import { readFile } from 'node:fs/promises';
import { CAPTURE_HOST, CAPTURE_PORT, DEFAULT_ADDRESS_RANGE, type DnsServer, type HostedCapture, nameserversOf, openForwarder, type Proxies, startDns, startHeartbeat } from '@isthmus/dataplane';
import type { ServiceName } from '@isthmus/model';
import type { StopReason } from '@isthmus/runtime';
import type { Config } from './config.ts';
import { fail } from './errors.ts';
import type { ListeningParts } from './join.ts';
import type { OutboundListeners } from './outbound.ts';

const LOOPBACK: ReadonlySet<string> = new Set([CAPTURE_HOST, '::1']);
const EVERY_ADDRESS: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** The listener of captured calls; undefined where capture is off. **Throws** AGENT_CONFIG, DATAPLANE_LISTEN_FAILED, DATAPLANE_ENGINE_UNAVAILABLE. */
export async function openCapture(config: Config, proxies: Proxies, parts: ListeningParts): Promise<HostedCapture | undefined> {
  const { capture } = config;
  if (capture === undefined) return undefined;
  if (config.outbound?.all !== true) throw fail('AGENT_CONFIG', 'capture needs outbound.all: true, which gives every service an address', { hint: 'add outbound: { all: true }' });
  if (capture.dns === true && config.dns === undefined) throw fail('AGENT_CONFIG', 'capture.dns needs the agent to answer names', { hint: 'add dns: { host: 127.0.0.1, port: 5353 }' });
  if (capture.dns === true && EVERY_ADDRESS.has(config.dns?.host ?? '')) {
    throw fail('AGENT_CONFIG', `capture.dns with dns.host ${config.dns?.host ?? ''} would pass on queries of the whole network`, { hint: 'set dns.host to 127.0.0.1, or to one address: only what is redirected to 127.0.0.1 is passed on' });
  }
  const addresses: ReadonlyMap<string, ServiceName> = new Map();
  const listen = { host: CAPTURE_HOST, port: capture.port ?? CAPTURE_PORT, sharesPort: parts.sharesPort };
  return proxies.captured({ listen, addresses, svids: config.identity?.callAs ?? '' });
}

/** Answers for names, and while capture is on, signs of life for the rules. */
export interface Names {
  /** What `isthmus-agent status` says of capture; undefined where it is off. */
  captureStatus(): object | undefined;
  close(why: StopReason): Promise<void>;
}

/** Starts to answer names. **Throws** DATAPLANE_LISTEN_FAILED; AGENT_CONFIG where there is nobody to pass queries on to. */
export async function startNames(config: Config, listeners: OutboundListeners, parts: ListeningParts): Promise<Names> {
  const { capture, dns } = config;
  const { log, clock } = parts;
  const nameservers = capture?.dns === true ? await machineNameservers(capture.nameservers) : [];
  const forwarder = nameservers.length === 0 ? undefined : openForwarder({ nameservers, clock });
  const servers: DnsServer[] = [];
  if (dns !== undefined) {
    // What is redirected goes to 127.0.0.1, and from a nameserver's IPv6 address to ::1. Nobody else's queries are passed on.
    const hosts = [dns.host ?? CAPTURE_HOST, ...(nameservers.length > 0 ? [CAPTURE_HOST] : []), ...(nameservers.some((address) => address.includes(':')) ? ['::1'] : [])];
    try {
      for (const each of new Set(hosts)) servers.push(await startDns({ listen: { host: each, port: dns.port }, lookup: listeners.lookup, forwarder: LOOPBACK.has(each) ? forwarder : undefined, ...parts }));
    } catch (error) {
      await Promise.all(servers.map((server) => server.close()));
      throw error;
    }
  }
  // Only now: from the first sign of life on, queries come here.
  const heartbeat =
    capture === undefined
      ? undefined
      : startHeartbeat({
          clock,
          onChange: (isHeard) => {
            if (isHeard) log.info('capture rules are in force');
            else log.warn('capture is configured, but its rules are not in force', { hint: 'systemctl enable --now isthmus-agent-capture, or as root: isthmus-agent capture apply' });
          },
        });
  return {
    captureStatus: () =>
      capture === undefined
        ? undefined
        : {
            isInForce: heartbeat?.isHeard ?? false,
            listen: `${CAPTURE_HOST}:${capture.port ?? CAPTURE_PORT}`,
            addressRange: config.outbound?.addressRange ?? DEFAULT_ADDRESS_RANGE,
            connections: listeners.captured(),
            ...(nameservers.length > 0 && { nameservers }),
            ...(capture.inbound !== undefined && { inbound: capture.inbound }),
          },
    close: async (why) => {
      await heartbeat?.close({ farewell: why !== 'handed-over' });
      forwarder?.close();
      await Promise.all(servers.map((server) => server.close()));
    },
  };
}

async function machineNameservers(configured: readonly string[] | undefined): Promise<readonly string[]> {
  const found = configured ?? nameserversOf(await readFile('/etc/resolv.conf', 'utf8').catch(() => ''));
  if (found.length === 0) throw fail('AGENT_CONFIG', 'capture.dns: /etc/resolv.conf names no nameserver that queries could be passed on to', { hint: 'name them in capture.nameservers' });
  return found;
}
