// Kubernetes as a source of declarations: its Services and ServiceExports, followed, mapped, and kept through every silence.
import { type Export, formatServiceName, type ImportedService, type Service, type ServiceName } from '@isthmus/model';
import type { Clock, Random, StateFile } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { openAccess, type AccessOptions } from './access.ts';
import { type ApiLimits, openKubernetesApi } from './api.ts';
import { type Declared, declareExport, declareService } from './declare.ts';
import { endpointsOf, type ServiceEndpoint } from './endpoints.ts';
import { conditionsOf, conditionsToWrite } from './export-conditions.ts';
import { openExportStatusWriter } from './export-status.ts';
import { followMetrics } from './follow.ts';
import { type FollowedStatus, followGroup, type Group } from './group.ts';
import { ENDPOINT_SLICES, SERVICE_EXPORTS, SERVICES } from './kinds.ts';
import { type LastKnown, NOTHING_KNOWN, openLastKnownWriter, readLastKnown } from './last-known.ts';
import type { KubeEndpointSlice, KubeService, KubeServiceExport } from './objects.ts';

export type KubernetesSourceOptions = AccessOptions & {
  /** Followed are these namespaces alone; without them all but Kubernetes' own (`kube-…`). */
  readonly namespaces?: readonly string[] | undefined;
  /** Write conditions of ServiceExports back (true without it). */
  readonly writeStatus?: boolean | undefined;
  /** Where the last known declarations are kept; without it a start while the API server is away knows nothing. */
  readonly stateFile?: StateFile | undefined;
  /** What this cluster knows of a service besides: for the conditions of its export. */
  readonly facts: (name: ServiceName) => { readonly imports: readonly ImportedService[]; readonly registeredCount: number };
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly limits?: Partial<ApiLimits> | undefined;
};

/** A Service or ServiceExport that is not taken, or not whole, with the reason. */
export type LeftOut = { readonly kind: 'Service' | 'ServiceExport'; readonly name: string; readonly reason: string };

export type KubernetesStatus = {
  readonly server: string;
  /** Whether all that is followed was listed whole since the start; until then the last known from disk is in force. */
  readonly known: boolean;
  readonly followed: readonly FollowedStatus[];
  readonly leftOut: readonly LeftOut[];
  /** Services whose pods have no agent that speaks for them, so that nobody can reach them here. */
  readonly withoutAgent: readonly { readonly name: string; readonly endpoints: number }[];
  readonly statusProblem?: string;
};

export interface KubernetesSource {
  services(): readonly Service[];
  exports(): readonly Export[];
  service(name: ServiceName): Service | undefined;
  export(name: ServiceName): Export | undefined;
  /** Creation of the ServiceExport, Unix time; undefined while it was not listed yet. */
  exportedAtMs(name: ServiceName): number | undefined;
  endpoints(name: ServiceName): readonly ServiceEndpoint[];
  /** Calls `fn` with the services whose declaration or export changed; returns an unsubscribe. */
  onChange(fn: (changed: readonly ServiceName[]) => void): () => void;
  /** What `facts` says of these services is another; their exports' conditions may be too. */
  reconsider(names: readonly ServiceName[]): void;
  status(): KubernetesStatus;
  close(): Promise<void>;
}

/** Opens the source and returns at once with what was last known. **Throws** DISCOVERY_KUBERNETES_CONFIG. */
export async function openKubernetesSource(options: KubernetesSourceOptions): Promise<KubernetesSource> {
  const access = await openAccess(options);
  const lastKnown = options.stateFile === undefined ? NOTHING_KNOWN : await readLastKnown(options.stateFile, options.log);
  return new Source(options, access, lastKnown);
}

/** What is in force of one name. */
type InForce = { readonly service?: Service; readonly export?: Export };
const MAX_SHOWN = 100;

class Source implements KubernetesSource {
  readonly #options: KubernetesSourceOptions;
  readonly #server: string;
  readonly #lastKnown: ReadonlyMap<string, InForce>;
  readonly #lastExportedAtMs: Readonly<Record<string, number>>;
  readonly #services: Group<KubeService>;
  readonly #exports: Group<KubeServiceExport>;
  readonly #slices: Group<KubeEndpointSlice>;
  readonly #slicesOf = new Map<string, Set<string>>();
  readonly #serviceOfSlice = new Map<string, string>();
  readonly #inForce = new Map<string, InForce>();
  readonly #listeners = new Set<(changed: readonly ServiceName[]) => void>();
  readonly #close: () => Promise<void>;
  readonly #statusWriter: ReturnType<typeof openExportStatusWriter> | undefined;
  readonly #keeper: ReturnType<typeof openLastKnownWriter> | undefined;
  #told = { services: false, exports: false };

  constructor(options: KubernetesSourceOptions, access: Awaited<ReturnType<typeof openAccess>>, lastKnown: LastKnown) {
    this.#options = options;
    this.#server = access.server;
    const { clock, random, log, stateFile } = options;
    const byName = new Map<string, InForce>();
    for (const service of lastKnown.services) byName.set(formatServiceName(service), { service });
    for (const exported of lastKnown.exports) byName.set(formatServiceName(exported), { ...byName.get(formatServiceName(exported)), export: exported });
    this.#lastKnown = byName;
    this.#lastExportedAtMs = lastKnown.exportedAtMs;
    for (const [key, value] of byName) this.#inForce.set(key, value);
    const api = openKubernetesApi({ access, clock, ...(options.limits && { limits: options.limits }) });
    const parts = { api, clock, random, log, metrics: followMetrics(options.metrics) };
    this.#statusWriter = options.writeStatus === false ? undefined : openExportStatusWriter({ ...parts, metrics: options.metrics, wanted: (key) => this.#wantedStatus(key) });
    this.#keeper = stateFile && openLastKnownWriter({ file: stateFile, read: () => this.#known(), clock, log });
    this.#services = followGroup(options.namespaces, { ...parts, kind: SERVICES, onChange: (keys) => this.#changed(keys) });
    this.#exports = followGroup(options.namespaces, { ...parts, kind: SERVICE_EXPORTS, onChange: (keys) => this.#changed(keys) });
    this.#slices = followGroup(options.namespaces, { ...parts, kind: ENDPOINT_SLICES, onChange: (keys) => this.#slicesChanged(keys) });
    this.#close = async () => {
      await Promise.all([this.#services.close(), this.#exports.close(), this.#slices.close(), this.#statusWriter?.close()]);
      await this.#keeper?.close();
      await api.close();
    };
  }

  services(): readonly Service[] {
    return [...this.#inForce.values()].flatMap((d) => d.service ?? []);
  }

  exports(): readonly Export[] {
    return [...this.#inForce.values()].flatMap((d) => d.export ?? []);
  }

  service(name: ServiceName): Service | undefined {
    return this.#inForce.get(formatServiceName(name))?.service;
  }

  export(name: ServiceName): Export | undefined {
    return this.#inForce.get(formatServiceName(name))?.export;
  }

  exportedAtMs(name: ServiceName): number | undefined {
    const key = formatServiceName(name);
    return this.#exports.get(key)?.createdAtMs ?? this.#lastExportedAtMs[key];
  }

  #known(): LastKnown {
    const exports = this.exports();
    const times = exports.flatMap((e): [string, number][] => {
      const atMs = this.exportedAtMs(e);
      return atMs === undefined ? [] : [[formatServiceName(e), atMs]];
    });
    return { services: this.services(), exports, exportedAtMs: Object.fromEntries(times) };
  }

  endpoints(name: ServiceName): readonly ServiceEndpoint[] {
    return endpointsOf(name, [...(this.#slicesOf.get(formatServiceName(name)) ?? [])].flatMap((key) => this.#slices.get(key) ?? []));
  }

  onChange(fn: (changed: readonly ServiceName[]) => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  reconsider(names: readonly ServiceName[]): void {
    this.#reconsider(names.map(formatServiceName));
  }

  status(): KubernetesStatus {
    const problem = this.#statusWriter?.problem();
    const withoutAgent = this.services().flatMap((service) => {
      const count = this.endpoints(service).length;
      return count > 0 && this.#options.facts(service).registeredCount === 0 ? [{ name: formatServiceName(service), endpoints: count }] : [];
    });
    return {
      server: this.#server,
      known: this.#services.isKnown() && this.#exports.isKnown() && this.#slices.isKnown(),
      followed: [...this.#services.status(), ...this.#exports.status(), ...this.#slices.status()],
      leftOut: this.#leftOut().slice(0, MAX_SHOWN),
      withoutAgent: withoutAgent.slice(0, MAX_SHOWN),
      ...(problem !== undefined && { statusProblem: problem }),
    };
  }

  close(): Promise<void> {
    return this.#close();
  }

  /** Works out these names anew; all of them the first time a kind is known whole, when the last known from disk ends. */
  #changed(keys: readonly string[]): void {
    const now = { services: this.#services.isKnown(), exports: this.#exports.isKnown() };
    const isWider = now.services !== this.#told.services || now.exports !== this.#told.exports;
    this.#told = now;
    const all = isWider ? [...new Set([...this.#inForce.keys(), ...this.#services.values().map((s) => s.key), ...this.#exports.values().map((e) => e.key)])] : keys;
    const changed: ServiceName[] = [];
    for (const key of all) {
      const before = this.#inForce.get(key);
      const after = this.#derive(key);
      if (JSON.stringify(before) === JSON.stringify(after)) continue;
      if (after.service === undefined && after.export === undefined) {
        if (!this.#inForce.delete(key)) continue;
      } else this.#inForce.set(key, after);
      changed.push(nameOf(key));
    }
    if (changed.length > 0) {
      this.#keeper?.changed();
      for (const fn of this.#listeners) fn(changed);
    }
    this.#reconsider(all);
  }

  /** What Kubernetes says of a name now; of a kind that was not listed whole yet, what it last said. */
  #derive(key: string): InForce {
    const last = this.#lastKnown.get(key);
    const service = this.#told.services ? valueOf(this.#declaredService(key)) : last?.service;
    // An export needs its service, so it changes over to what is new only when both can.
    const exported = this.#told.services && this.#told.exports ? valueOf(this.#declaredExport(key)) : last?.export;
    return { ...(service && { service }), ...(service && exported && { export: exported }) };
  }

  #declaredService(key: string): Declared<Service> | undefined {
    const service = this.#services.get(key);
    return service === undefined || !this.#isFollowed(service) ? undefined : declareService(service);
  }

  #declaredExport(key: string): Declared<Export> | undefined {
    const exported = this.#exports.get(key);
    return exported === undefined || !this.#isFollowed(exported) ? undefined : declareExport(exported);
  }

  /** Kubernetes' own services are nobody's to call across clusters, unless their namespace is asked for by name. */
  #isFollowed({ namespace, name }: ServiceName): boolean {
    const { namespaces } = this.#options;
    if (namespaces !== undefined && namespaces.length > 0) return true;
    return !namespace.startsWith('kube-') && !(namespace === 'default' && name === 'kubernetes');
  }

  #slicesChanged(keys: readonly string[]): void {
    const services = new Set<string>();
    for (const key of keys) {
      const slice = this.#slices.get(key);
      const before = this.#serviceOfSlice.get(key);
      const now = slice === undefined || slice.service === '' ? undefined : `${slice.namespace}/${slice.service}`;
      if (before !== undefined) services.add(before);
      if (now !== undefined) services.add(now);
      if (before === now) continue;
      if (before !== undefined) {
        const rest = this.#slicesOf.get(before);
        rest?.delete(key);
        if (rest?.size === 0) this.#slicesOf.delete(before);
        this.#serviceOfSlice.delete(key);
      }
      if (now !== undefined) {
        this.#slicesOf.set(now, (this.#slicesOf.get(now) ?? new Set()).add(key));
        this.#serviceOfSlice.set(key, now);
      }
    }
    this.#reconsider([...services]);
  }

  #reconsider(keys: readonly string[]): void {
    const exported = keys.filter((key) => this.#exports.get(key) !== undefined);
    if (exported.length > 0) this.#statusWriter?.reconsider(exported);
  }

  /** Nothing is written of an export before everything it hangs on is known. */
  #wantedStatus(key: string): ReturnType<Parameters<typeof openExportStatusWriter>[0]['wanted']> {
    const exported = this.#exports.get(key);
    if (exported === undefined || !this.#services.isKnown() || !this.#slices.isKnown()) return undefined;
    const name = nameOf(key);
    const declared = declareExport(exported);
    const wanted = conditionsOf({
      exported,
      service: this.#declaredService(key),
      isWrongType: this.#services.get(key)?.type === 'ExternalName',
      isReadable: declared.ok ? { ok: true } : declared,
      endpointCount: this.endpoints(name).length,
      ...this.#options.facts(name),
    });
    const conditions = conditionsToWrite(exported, wanted, this.#options.clock.nowMs());
    return conditions && { exported, conditions };
  }

  #leftOut(): readonly LeftOut[] {
    const say = (kind: LeftOut['kind'], key: string, declared: Declared<unknown> | undefined): readonly LeftOut[] => {
      if (declared === undefined) return [];
      const reasons = declared.ok ? declared.notes : [declared.reason];
      return reasons.map((reason) => ({ kind, name: key, reason }));
    };
    return [
      ...this.#services.values().flatMap((s) => say('Service', s.key, this.#declaredService(s.key))),
      ...this.#exports.values().flatMap((e) => [
        ...say('ServiceExport', e.key, this.#declaredExport(e.key)),
        ...(this.#services.isKnown() && this.#services.get(e.key) === undefined ? [{ kind: 'ServiceExport' as const, name: e.key, reason: 'there is no Service of this name' }] : []),
      ]),
    ];
  }
}

function valueOf<T>(declared: Declared<T> | undefined): T | undefined {
  return declared?.ok === true ? declared.value : undefined;
}

function nameOf(key: string): ServiceName {
  const [namespace = '', name = ''] = key.split('/');
  return { namespace, name };
}
