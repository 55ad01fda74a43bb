// The listeners applications call through: those the configuration names, and one for every service where it says so.
import { DEFAULT_ADDRESS_RANGE, type HostedCapture, type HostedListener, ipv4Range, ipv4Text, type Proxies } from '@isthmus/dataplane';
import { formatServiceName, messageOf, parseServiceName, type Protocol, serviceDnsName, type ServiceName, valueOf } from '@isthmus/model';
import type { Config } from './config.ts';
import { fail } from './errors.ts';
import type { Knowledge, ListeningParts } from './join.ts';
import { serviceView } from './workloads.ts';

export type ListenerStatus = { readonly service: string; readonly portName: string; readonly host: string; readonly port: number; readonly connections: number };

export interface OutboundListeners {
  status(): readonly ListenerStatus[];
  /** The address behind a mesh name such as payments.shop.svc.clusterset.local; undefined for a name that is not known. */
  lookup(name: string): string | undefined;
  /** Connections open at the listener of captured calls. */
  captured(): number;
  close(drainMs: number): Promise<void>;
}

type Open = { readonly service: ServiceName; readonly portName: string | undefined; readonly listener: HostedListener };
type Wanted = { readonly service: ServiceName; readonly host: string; readonly port: number; readonly portName: string | undefined; readonly protocol: Protocol | undefined };

/** Opens them; with `capture` the services of `all` have no listeners of their own but are told apart by address there. **Owns** it. **Throws** DATAPLANE_LISTEN_FAILED for a configured one; one of `all` that cannot be opened is logged and tried again. */
export async function startOutboundListeners(config: Config, knowledge: Knowledge, proxies: Proxies, capture: HostedCapture | undefined, parts: ListeningParts): Promise<OutboundListeners> {
  const { log, sharesPort } = parts;
  const open = new Map<string, Open>();
  const addressOf = new Map<string, string>();
  /** Of captured services; a listener that is named too keeps its own address for whoever dials that. */
  const virtual = new Map<string, string>();
  const addresses = config.outbound?.all === true ? addressTaker(config.outbound.addressRange ?? DEFAULT_ADDRESS_RANGE) : undefined;

  async function start(key: string, wanted: Wanted): Promise<void> {
    const { service } = wanted;
    const { host, port, portName, protocol } = wanted;
    // Who the calls are made as: the configured service, or the agent itself.
    const svids = config.identity?.callAs ?? '';
    const listener = await proxies.outbound({ listen: { host, port, sharesPort }, service, port: portName, protocol, svids });
    open.set(key, { service, portName, listener });
    addressOf.set(serviceDnsName(service), listener.host);
  }

  /** Brings the listeners of `all` in line with the snapshot; one at a time. */
  let following: Promise<void> = Promise.resolve();
  let closed = false;
  async function follow(): Promise<void> {
    if (addresses === undefined || closed) return;
    if (capture !== undefined) return followCaptured(capture, addresses);
    const wanted = new Map<string, Wanted>();
    for (const resource of knowledge.subscription.snapshot().resources.values()) {
      if (resource.kind !== 'service') continue;
      const service = { namespace: resource.namespace, name: resource.name };
      for (const port of resource.ports) {
        wanted.set(`all ${formatServiceName(service)} ${port.name}`, { service, host: addresses(formatServiceName(service)), port: port.port, portName: port.name, protocol: port.protocol });
      }
    }
    for (const [key, { service, listener }] of open) {
      if (!key.startsWith('all ') || wanted.has(key)) continue;
      open.delete(key);
      addressOf.delete(serviceDnsName(service));
      void listener.close({ drainMs: config.drainMs ?? 5_000 });
    }
    for (const [key, want] of wanted) {
      if (open.has(key)) continue;
      await start(key, want).catch((error: unknown) => log.error('outbound listener not opened', { service: formatServiceName(want.service), detail: messageOf(error) }));
    }
  }

  function followCaptured(listener: HostedCapture, addressFor: (name: string) => string): void {
    const services = new Map<string, ServiceName>();
    virtual.clear();
    for (const resource of knowledge.subscription.snapshot().resources.values()) {
      if (resource.kind !== 'service') continue;
      const service = { namespace: resource.namespace, name: resource.name };
      const address = addressFor(formatServiceName(service));
      services.set(address, service);
      virtual.set(serviceDnsName(service), address);
    }
    listener.setAddresses(services, config.drainMs ?? 5_000);
  }

  const close = async (drainMs: number): Promise<void> => {
    closed = true;
    stop();
    await following;
    await Promise.all([capture, ...[...open.values()].map(({ listener }) => listener)].map((listener) => listener?.close({ drainMs })));
  };
  const stop = knowledge.onEngine(() => {
    following = following.then(follow);
  });
  try {
    for (const [i, l] of (config.outbound?.listeners ?? []).entries()) {
      const service = valueOf(parseServiceName(l.service, `outbound.listeners[${i}].service`));
      await start(`named ${i}`, { service, host: l.host ?? config.outbound?.host ?? '127.0.0.1', port: l.port ?? 0, portName: l.portName, protocol: l.protocol });
    }
    following = follow();
    await following;
  } catch (error) {
    await close(0);
    throw error;
  }

  return {
    status: () => [...open.values()].map((o) => statusOf(o, knowledge)),
    lookup: (name) => {
      const plain = name.toLowerCase().replace(/\.$/, '');
      return virtual.get(plain) ?? addressOf.get(plain);
    },
    captured: () => capture?.connections ?? 0,
    close,
  };
}

function statusOf({ service, portName, listener }: Open, knowledge: Knowledge): ListenerStatus {
  const name = portName ?? serviceView(knowledge, service)?.ports[0]?.name ?? 'http';
  return { service: formatServiceName(service), portName: name, host: listener.host, port: listener.port, connections: listener.connections };
}

/** Gives each name an address of the range, the same one again after a restart while no two names meet. */
export function addressTaker(range: string): (name: string) => string {
  const read = ipv4Range(range);
  if (read === undefined) throw fail('AGENT_CONFIG', `outbound.addressRange ${range} is no IPv4 range between /8 and /30`);
  const { first, size } = read;
  const taken = new Map<number, string>();
  const given = new Map<string, string>();
  return (name) => {
    const known = given.get(name);
    if (known !== undefined) return known;
    for (let step = 0; step < size - 2; step++) {
      const offset = 1 + ((hash(name) + step) % (size - 2)); // without the network's own and its broadcast address
      if (taken.has(offset)) continue;
      taken.set(offset, name);
      const address = ipv4Text(first + offset);
      given.set(name, address);
      return address;
    }
    throw fail('AGENT_PORT_RANGE', `outbound.addressRange ${range} has no address left for ${name}`);
  };
}

/** FNV-1a, 32 bit. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return h;
}
