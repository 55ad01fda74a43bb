// What operators want drained in this cluster: kept in its store, told to whom it concerns, and seen in what others are told of the gateways.
import type { ProxyDrain, ProxyStatus, Push } from '@isthmus/discovery';
import type { Issuance } from '@isthmus/identity';
import { type DesiredDrain, type Drain, messageOf, NO_DRAIN, parseDrain, type ProxyRole } from '@isthmus/model';
import { keys, type Store } from '@isthmus/store';
import type { Log } from '@isthmus/telemetry';
import type { Item } from './feed.ts';

type Kept = { readonly drain: Drain; readonly revision: bigint };

export interface Drains {
  list(): readonly Item[];
  /** What is wanted of one proxy. */
  desired(role: ProxyRole, name: string): DesiredDrain;
  onChange(fn: (role: ProxyRole, name: string) => void): () => void;
  isCurrent(): boolean;
  close(): Promise<void>;
}

/** Follows the drains of the store; resolves when they are known. **Throws** STORE_*. */
export async function openDrains({ store, log }: { readonly store: Store; readonly log: Log }): Promise<Drains> {
  const kept = new Map<string, Kept>();
  const listeners = new Set<(role: ProxyRole, name: string) => void>();
  const stop = new AbortController();
  const first = Promise.withResolvers<void>();
  let isKnown = true;

  const read = (key: string, value: Uint8Array, revision: bigint): Kept | undefined => {
    try {
      const parsed = parseDrain(JSON.parse(Buffer.from(value).toString('utf8')));
      if (parsed.ok && keys.drain(parsed.value.role, parsed.value.name) === key) return { drain: parsed.value, revision };
    } catch {
      // Not JSON: said below.
    }
    log.error('a drain in the store does not parse and is skipped', { key });
    return undefined;
  };
  const tell = (key: string): void => {
    const [, role, name = ''] = key.split('/');
    if (role === 'agent' || role === 'gateway') for (const fn of listeners) fn(role, name);
  };
  const set = (key: string, now: Kept | undefined): void => {
    if (now === undefined) kept.delete(key);
    else kept.set(key, now);
    tell(key);
  };
  const run = async (): Promise<void> => {
    for await (const event of store.watch(keys.drains(), { signal: stop.signal })) {
      if (event.kind === 'snapshot') {
        const gone = new Set(kept.keys());
        for (const { key, value, modRevision } of event.entries) {
          gone.delete(key);
          set(key, read(key, value, modRevision));
        }
        for (const key of gone) set(key, undefined);
        first.resolve();
      } else if (event.kind === 'put') set(event.key, read(event.key, event.value, event.modRevision));
      else if (event.kind === 'delete') set(event.key, undefined);
      else isKnown = event.kind === 'known';
    }
  };
  const running = run().catch((error: unknown) => {
    if (!stop.signal.aborted) log.error('drains are followed no longer', { error: messageOf(error) });
    first.reject(error);
  });
  await first.promise;
  return {
    list: () => [...kept.values()].map(({ drain, revision }) => ({ key: `${drain.role}/${drain.name}`, document: drain, revision })),
    desired: (role, name) => {
      const found = kept.get(keys.drain(role, name));
      return found === undefined ? NO_DRAIN : { revision: Number(found.revision), draining: true, workloads: found.drain.workloads ?? [] };
    },
    onChange: (fn) => {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    isCurrent: () => isKnown,
    close: async () => {
      stop.abort();
      listeners.clear();
      await running;
    },
  };
}

/** The gateways others are told of: those that drain are left out, and where that leaves none, none is. */
export function openGateways(configured: readonly string[], drains: Pick<Drains, 'desired'>, progress: () => readonly ProxyDrain[]): readonly string[] {
  const leaving = new Set(progress().flatMap((p) => (p.kind === 'gateway' && p.address !== undefined && drains.desired('gateway', p.name).draining ? [p.address] : [])));
  const open = configured.filter((address) => !leaving.has(address));
  return open.length === 0 ? configured : open;
}

type ViewParts = { readonly push: Pick<Push, 'proxies' | 'drains'>; readonly drains: Drains; readonly issuance: Pick<Issuance, 'listEntries'> };

/** Every agent, or every gateway: who joined, who is connected with which configuration acknowledged, and how far a drain is. */
export async function proxiesOf(role: ProxyRole, { push, drains, issuance }: ViewParts): Promise<readonly object[]> {
  const connected = new Map(push.proxies().flatMap((p) => (p.kind === role && p.name !== undefined ? [[p.name, p] as const] : [])));
  const told = new Map(push.drains().flatMap((p) => (p.kind === role ? [[p.name, p] as const] : [])));
  const joined = (await issuance.listEntries()).filter((entry) => entry.role === role && entry.removedAtMs === undefined).map((entry) => entry.agent);
  const names = new Set([...joined, ...connected.keys(), ...drains.list().flatMap(({ document }) => ((document as Drain).role === role ? [(document as Drain).name] : []))]);
  return [...names].toSorted().map((name) => ({ name, role, connected: connected.has(name), ...statusOf(connected.get(name)), drain: drainOf(drains.desired(role, name), told.get(name)) }));
}

function statusOf(proxy: ProxyStatus | undefined): object {
  if (proxy === undefined) return {};
  const { network, locality, version, sentVersion, ackedVersion, nack, connectedSinceMs } = proxy;
  return { network, locality, ...(version !== undefined && { version }), sentVersion, ackedVersion, inSync: sentVersion === ackedVersion, ...(nack !== undefined && { nack }), connectedSinceMs };
}

/** What is wanted beside what the process says; acknowledged only where both are of one revision. */
function drainOf(desired: DesiredDrain, told: ProxyDrain | undefined): object {
  const { draining, workloads, revision } = desired;
  if (told === undefined) return { wanted: draining, ...(workloads.length > 0 && { workloads }), acknowledged: false, state: 'unknown' };
  const { state, connections, problem, heardAtMs, address } = told;
  return { wanted: draining, ...(workloads.length > 0 && { workloads }), acknowledged: told.revision === revision, state, connections, ...(problem !== undefined && { problem }), ...(address !== undefined && { address }), heardAtMs };
}
