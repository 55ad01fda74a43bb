// What operators declared in this cluster, as the store holds it now: services and exports, each record parsed or set aside.
import { type Export, formatProblems, formatServiceName, type Parsed, parseExport, parseService, type Service, type ServiceName } from '@isthmus/model';
import { keys, type Store } from '@isthmus/store';
import type { Clock } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';

/** A record that does not parse: skipped, shown to the operator, and never a reason to stop. */
export type RefusedRecord = { readonly key: string; readonly reason: string };

/** The declared state. `known` is false until the first complete read, and the last state stays while the store is away. */
export interface Resources {
  readonly services: () => readonly Service[];
  readonly exports: () => readonly Export[];
  readonly service: (name: ServiceName) => Service | undefined;
  readonly export: (name: ServiceName) => Export | undefined;
  /** The store's revision of a declaration; 0 where it is not there. */
  readonly revisionOf: (kind: 'service' | 'export', name: ServiceName) => bigint;
  /** Calls `fn` with what changed; returns an unsubscribe. */
  readonly onChange: (fn: (changed: readonly ServiceName[]) => void) => () => void;
  /** Resolves once changes up to this revision are known here, or after two seconds: a list after a write shows the write. */
  readonly seen: (revision: bigint) => Promise<void>;
  readonly refused: () => readonly RefusedRecord[];
  readonly isCurrent: () => boolean;
  readonly close: () => Promise<void>;
}

const SEEN_LIMIT_MS = 2_000;

type Kind = 'service' | 'export';
type Declared = { readonly kind: 'service'; readonly value: Service } | { readonly kind: 'export'; readonly value: Export };

/**
 * Reads and watches `resources/`; `onChange` gets the services whose declaration or export changed. Resolves once the
 * first complete state is known.
 */
export async function openResources(options: {
  readonly store: Store;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly clock: Pick<Clock, 'setTimer'>;
  readonly onChange: (changed: readonly ServiceName[]) => void;
}): Promise<Resources> {
  const { store, log, clock, onChange } = options;
  const records = new Map<string, Declared & { readonly revision: bigint }>();
  const listeners = new Set<(changed: readonly ServiceName[]) => void>();
  const waiting = new Set<{ readonly revision: bigint; readonly resolve: () => void }>();
  let seenRevision = 0n;
  const refused = new Map<string, RefusedRecord>();
  const refusedGauge = options.metrics.gauge('isthmus_resource_records_refused', 'Records under resources/ that do not parse and are skipped');
  const abort = new AbortController();
  let current = false;

  const take = (key: string, value: Uint8Array, revision: bigint): ServiceName | undefined => {
    const parsed = parseRecord(key, value);
    if (parsed.ok) {
      records.set(key, { ...parsed.value, revision });
      refused.delete(key);
    } else {
      const reason = formatProblems(parsed.problems);
      refused.set(key, { key, reason });
      log.warn('record in the store does not parse, skipped', { key, reason });
    }
    refusedGauge.set(refused.size);
    return parsed.ok ? nameOf(parsed.value) : undefined;
  };
  const drop = (key: string): ServiceName | undefined => {
    const before = records.get(key);
    records.delete(key);
    refused.delete(key);
    refusedGauge.set(refused.size);
    return before === undefined ? undefined : nameOf(before);
  };

  const first = Promise.withResolvers<void>();
  const run = async (): Promise<void> => {
    for await (const event of store.watch('resources/', { signal: abort.signal })) {
      const changed: (ServiceName | undefined)[] = [];
      switch (event.kind) {
        case 'snapshot': {
          const seen = new Set(event.entries.map((e) => e.key));
          for (const key of [...records.keys(), ...refused.keys()]) if (!seen.has(key)) changed.push(drop(key));
          for (const entry of event.entries) changed.push(take(entry.key, entry.value, entry.modRevision));
          seenRevision = event.revision;
          current = true;
          first.resolve();
          break;
        }
        case 'put':
          changed.push(take(event.key, event.value, event.modRevision));
          seenRevision = event.modRevision;
          break;
        case 'delete':
          changed.push(drop(event.key));
          seenRevision = event.modRevision;
          break;
        case 'unknown':
          current = false;
          break;
        case 'known':
          current = true;
          break;
      }
      const names = changed.filter((name) => name !== undefined);
      if (names.length > 0) onChange(names);
      if (names.length > 0) for (const listener of listeners) listener(names);
      for (const one of waiting) if (one.revision <= seenRevision) one.resolve();
    }
  };
  const running = run().catch((error: unknown) => {
    if (!abort.signal.aborted) log.error('watch of resources ended', { error: String(error) });
    first.reject(error);
  });
  await first.promise;

  const all = (kind: Kind): readonly (Service | Export)[] => [...records.values()].filter((r) => r.kind === kind).map((r) => r.value);
  return {
    services: () => all('service') as Service[],
    exports: () => all('export') as Export[],
    service: (name) => lookUp(records, 'service', name) as Service | undefined,
    export: (name) => lookUp(records, 'export', name) as Export | undefined,
    revisionOf: (kind, name) => records.get(keys.resource(kind, name.namespace, name.name))?.revision ?? 0n,
    onChange: (fn) => {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    seen: async (revision) => {
      if (revision <= seenRevision) return;
      await new Promise<void>((resolve) => {
        const one = { revision, resolve: () => { waiting.delete(one); limit.cancel(); resolve(); } };
        const limit = clock.setTimer(SEEN_LIMIT_MS, one.resolve);
        waiting.add(one);
      });
    },
    refused: () => [...refused.values()],
    isCurrent: () => current,
    close: async () => {
      abort.abort();
      for (const one of waiting) one.resolve();
      await running;
    },
  };
}

function lookUp(records: ReadonlyMap<string, Declared>, kind: Kind, name: ServiceName): Service | Export | undefined {
  return records.get(keys.resource(kind, name.namespace, name.name))?.value;
}

function nameOf(record: Declared): ServiceName {
  return { namespace: record.value.namespace, name: record.value.name };
}

/** Parses one record and holds it to the key it was found under. */
export function parseRecord(key: string, bytes: Uint8Array): Parsed<Declared> {
  const [, kind] = key.split('/');
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return { ok: false, problems: [{ path: key, message: 'is not JSON' }] };
  }
  if (kind !== 'service' && kind !== 'export') return { ok: false, problems: [{ path: key, message: 'unknown kind of resource' }] };
  const parsed: Parsed<Service | Export> = kind === 'service' ? parseService(json) : parseExport(json);
  if (!parsed.ok) return parsed;
  const declared = { kind, value: parsed.value } as Declared;
  if (keys.resource(kind, parsed.value.namespace, parsed.value.name) !== key) {
    return { ok: false, problems: [{ path: key, message: `says it is ${formatServiceName(parsed.value)}` }] };
  }
  return { ok: true, value: declared };
}
