// The local truth about workloads and their health: in memory first, written to the store beside the path.
import { formatServiceName, parseRegistration, type Registration, registrationKey, type ServiceName } from '@isthmus/model';
import type { Clock, Random } from '@isthmus/runtime';
import { keys, type Store } from '@isthmus/store';
import type { Counter, Log, Metrics } from '@isthmus/telemetry';
import { fullKey, sameContent } from './registration.ts';
import { Tombstones } from './tombstone.ts';
import { WorkloadRecords } from './workload-records.ts';

export type RegistryOptions = {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  /** How long the endpoints of an agent whose stream ended stay; 10 s without it (Istio's figure for VMs, facts 3). */
  readonly graceMs?: number;
};

/** What stands ready behind a service: the numbers of a digest. */
export type Capacity = { readonly readyCount: number; readonly totalCount: number; readonly readyWeight: number };

/**
 * Workloads by agent and instance, never by address (facts U19). What a stream of an agent says counts only while no
 * newer stream of it came and this one did not end; within a stream, `sequence` decides. Readers get the new truth at
 * once; the store follows.
 */
export interface Registry {
  /** A new stream of an agent; its epoch outranks every earlier one's, whose late words are then ignored. */
  agentArrived(agent: string): number;
  /** Takes a report. `full`: what it does not hold is gone. `removed`: `<namespace>/<service>/<agent>.<instance>`. */
  report(
    agent: string,
    registrations: readonly Registration[],
    options: { readonly full: boolean; readonly removed?: readonly string[]; readonly epoch?: number },
  ): void;
  /** The stream of that epoch ended: its endpoints stay for the grace period. */
  agentGone(agent: string, epoch?: number): void;
  list(): readonly Registration[];
  workloads(service: ServiceName): readonly Registration[];
  capacity(service: ServiceName): Capacity;
  /** Called at once with the services a report changed; returns the unsubscriber. */
  onChange(fn: (changed: readonly ServiceName[]) => void): () => void;
  /** Resolves when the store holds what memory does. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

/** Opens the registry with what an earlier life left in the store; its agents have the grace period to come back. **Throws** as `store.list`. */
export async function openRegistry(options: RegistryOptions): Promise<Registry> {
  const registry = new StoredRegistry(options);
  await registry.load();
  return registry;
}

const DEFAULT_GRACE_MS = 10_000;
/** Epoch of what was read back from the store: older than any stream's. */
const FORMER_LIFE = 0;

type Held = { readonly registration: Registration; readonly epoch: number };
type AgentState = { epoch: number; isStreaming: boolean; readonly held: Map<string, Held>; grace: { cancel(): void } | undefined };

class StoredRegistry implements Registry {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #graceMs: number;
  readonly #late: Counter;
  readonly #records: WorkloadRecords;
  readonly #tombstones = new Tombstones();
  readonly #agents = new Map<string, AgentState>();
  readonly #services = new Map<string, Map<string, Registration>>();
  readonly #listeners = new Set<(changed: readonly ServiceName[]) => void>();
  #lastEpoch = FORMER_LIFE;

  constructor(options: RegistryOptions) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#graceMs = options.graceMs ?? DEFAULT_GRACE_MS;
    this.#late = options.metrics.counter('isthmus_registry_late_words_total', 'Workload reports older than what is known, ignored', ['kind']);
    this.#records = new WorkloadRecords(options);
  }

  async load(): Promise<void> {
    const { entries } = await this.#store.list(keys.workloads());
    for (const entry of entries) {
      const registration = parseRecord(entry.key, entry.value);
      if (registration === undefined) {
        this.#log.warn('workload record does not parse, skipped', { key: entry.key });
        continue;
      }
      const agent = this.#agentState(registration.agent);
      this.#hold(agent, registration, FORMER_LIFE);
    }
    for (const [name, agent] of this.#agents) this.#startGrace(name, agent);
    if (entries.length > 0) this.#log.info('workloads of an earlier life read back', { count: entries.length, graceMs: this.#graceMs });
  }

  agentArrived(agent: string): number {
    const state = this.#agentState(agent);
    state.grace?.cancel();
    state.grace = undefined;
    this.#lastEpoch += 1;
    state.epoch = this.#lastEpoch;
    state.isStreaming = true;
    // A stream that says nothing is no proof of life for what it does not report.
    this.#startGrace(agent, state);
    return state.epoch;
  }

  report(
    agent: string,
    registrations: readonly Registration[],
    options: { readonly full: boolean; readonly removed?: readonly string[]; readonly epoch?: number },
  ): void {
    const known = this.#agents.get(agent);
    const epoch = options.epoch ?? (known?.isStreaming === true ? known.epoch : this.agentArrived(agent));
    const state = this.#agentState(agent);
    if (epoch !== state.epoch || !state.isStreaming) {
      this.#late.inc({ kind: 'stream' });
      return;
    }
    const changed = new Map<string, ServiceName>();
    const kept = new Set<string>();
    for (const registration of registrations) {
      kept.add(fullKey(registration));
      if (this.#take(state, registration, epoch)) note(changed, registration);
    }
    const removed = options.full ? [...state.held.keys()].filter((key) => !kept.has(key)) : (options.removed ?? []);
    for (const key of removed) {
      const gone = this.#remove(state, key);
      if (gone !== undefined) note(changed, gone);
    }
    if (options.full) {
      state.grace?.cancel();
      state.grace = undefined;
    }
    this.#tell(changed);
  }

  agentGone(agent: string, epoch?: number): void {
    const state = this.#agents.get(agent);
    if (state === undefined || (epoch !== undefined && epoch !== state.epoch)) return;
    state.isStreaming = false;
    if (state.held.size === 0) {
      state.grace?.cancel();
      this.#agents.delete(agent);
      return;
    }
    this.#startGrace(agent, state);
  }

  list(): readonly Registration[] {
    return [...this.#agents.values()].flatMap((a) => [...a.held.values()].map((h) => h.registration));
  }

  workloads(service: ServiceName): readonly Registration[] {
    return [...(this.#services.get(formatServiceName(service))?.values() ?? [])];
  }

  capacity(service: ServiceName): Capacity {
    const all = this.workloads(service);
    const ready = all.filter((w) => w.health === 'healthy');
    return { readyCount: ready.length, totalCount: all.length, readyWeight: ready.reduce((sum, w) => sum + w.weight, 0) };
  }

  onChange(fn: (changed: readonly ServiceName[]) => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  settled(): Promise<void> {
    return this.#records.settled();
  }

  async close(): Promise<void> {
    for (const agent of this.#agents.values()) agent.grace?.cancel();
    this.#listeners.clear();
    await this.#records.close();
  }

  #agentState(agent: string): AgentState {
    const known = this.#agents.get(agent);
    if (known !== undefined) return known;
    const state: AgentState = { epoch: FORMER_LIFE, isStreaming: false, held: new Map(), grace: undefined };
    this.#agents.set(agent, state);
    return state;
  }

  /** True when what readers see changed. */
  #take(agent: AgentState, registration: Registration, epoch: number): boolean {
    const key = fullKey(registration);
    const held = agent.held.get(key);
    const isLate = held !== undefined && held.epoch === epoch && registration.sequence < held.registration.sequence;
    if (isLate || this.#tombstones.forbids(key, epoch, registration.sequence)) {
      this.#late.inc({ kind: 'sequence' });
      return false;
    }
    this.#tombstones.lift(key);
    const isSame = held !== undefined && sameContent(held.registration, registration);
    // The records of a former life are on leases nobody keeps alive any more: write them even if they say the same.
    if (isSame && held.epoch !== FORMER_LIFE) agent.held.set(key, { registration, epoch });
    else this.#hold(agent, registration, epoch);
    return !isSame;
  }

  #hold(agent: AgentState, registration: Registration, epoch: number): void {
    agent.held.set(fullKey(registration), { registration, epoch });
    const name = formatServiceName({ namespace: registration.namespace, name: registration.service });
    const workloads = this.#services.get(name) ?? new Map<string, Registration>();
    workloads.set(registrationKey(registration), registration);
    this.#services.set(name, workloads);
    this.#records.put(storeKey(registration), JSON.stringify(registration));
  }

  #remove(agent: AgentState, key: string): Registration | undefined {
    const held = agent.held.get(key);
    if (held === undefined) return undefined;
    const { registration } = held;
    agent.held.delete(key);
    this.#tombstones.lay(key, { epoch: agent.epoch, sequence: registration.sequence });
    const name = formatServiceName({ namespace: registration.namespace, name: registration.service });
    const workloads = this.#services.get(name);
    workloads?.delete(registrationKey(registration));
    if (workloads?.size === 0) this.#services.delete(name);
    this.#records.delete(storeKey(registration));
    return registration;
  }

  #startGrace(name: string, agent: AgentState): void {
    agent.grace?.cancel();
    agent.grace = this.#clock.setTimer(this.#graceMs, () => this.#graceOver(name, agent));
  }

  /** What no stream of the agent's present epoch has vouched for goes out. */
  #graceOver(name: string, agent: AgentState): void {
    agent.grace = undefined;
    const changed = new Map<string, ServiceName>();
    for (const [key, held] of [...agent.held]) {
      if (agent.isStreaming && held.epoch === agent.epoch) continue;
      this.#remove(agent, key);
      note(changed, held.registration);
    }
    if (!agent.isStreaming) this.#agents.delete(name);
    if (changed.size > 0) this.#log.info('workloads of a lost agent removed', { agent: name, services: changed.size });
    this.#tell(changed);
  }

  #tell(changed: ReadonlyMap<string, ServiceName>): void {
    if (changed.size === 0) return;
    const names = [...changed.values()];
    for (const listener of this.#listeners) listener(names);
  }
}

function storeKey(r: Registration): string {
  return keys.workload(r.namespace, r.service, registrationKey(r));
}

/** Parses a workload record and holds it to its key. */
function parseRecord(key: string, value: Uint8Array): Registration | undefined {
  try {
    const parsed = parseRegistration(JSON.parse(Buffer.from(value).toString('utf8')));
    return parsed.ok && storeKey(parsed.value) === key ? parsed.value : undefined;
  } catch {
    return undefined;
  }
}

function note(changed: Map<string, ServiceName>, r: Registration): void {
  const name = { namespace: r.namespace, name: r.service };
  changed.set(formatServiceName(name), name);
}
