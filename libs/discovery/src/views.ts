// What each kind of proxy sees, built once for all proxies that stand in the same place, and again only where something changed.
import {
  type Export,
  formatServiceName,
  type ImportedService,
  parseServiceName,
  type PeerState,
  resourceName,
  type Service,
  type ServiceName,
  type SnapshotResource,
} from '@isthmus/model';
import type { BundleSource } from '@isthmus/pki';
import type { Registry } from './registry.ts';
import { buildServiceView, type OwnCluster, type ProxyPlace } from './view.ts';

/** A peer as the control plane's federation sees it. */
export type PeerView = { readonly cluster: string; readonly trustDomain: string; readonly state: PeerState; readonly staleSinceMs?: number };

/** Where the views take their facts from; look-ups by name, so that one change costs one service and not all. */
export interface ViewSources extends OwnCluster {
  readonly registry: Registry;
  readonly bundles: BundleSource;
  /** Bundles of foreign trust domains, handed to proxies as such. */
  readonly foreign?: BundleSource | undefined;
  services(): readonly Service[];
  service(name: ServiceName): Service | undefined;
  export(name: ServiceName): Export | undefined;
  imports(): readonly ImportedService[];
  importsOf(name: ServiceName): readonly ImportedService[];
  peers(): readonly PeerView[];
}

/** A resource with the text it is sent as. */
export type BuiltResource = { readonly resource: SnapshotResource; readonly json: string };

export interface Views {
  /** Tells that declarations, exports or imports of these services changed (workload changes come by themselves). */
  changed(services: readonly ServiceName[]): void;
  /** Tells that peers' states changed. */
  peersChanged(): void;
  /** Every resource name a proxy at that place may have. O(all): for the first update of a stream only. */
  names(place: ProxyPlace): readonly string[];
  /** A resource as seen from that place; undefined when it is not there (any more). */
  resource(place: ProxyPlace, name: string): BuiltResource | undefined;
  /** Called with the names of resources that may have changed; returns the unsubscriber. */
  onChange(fn: (names: readonly string[]) => void): () => void;
  close(): void;
}

/** Places whose built views are kept; the one unused for longest goes first. */
const MAX_PLACES = 256;

/** Opens the views over their sources; follows registry and bundles by itself. */
export function openViews(sources: ViewSources): Views {
  return new CachedViews(sources);
}

class CachedViews implements Views {
  readonly #sources: ViewSources;
  readonly #built = new Map<string, Map<string, BuiltResource | undefined>>();
  readonly #listeners = new Set<(names: readonly string[]) => void>();
  readonly #unsubscribe: readonly (() => void)[];
  #trustDomains: ReadonlySet<string>;
  #clusters: ReadonlySet<string>;
  #banned: ReadonlySet<string>;
  #foreign: ReadonlySet<string>;

  constructor(sources: ViewSources) {
    this.#sources = sources;
    this.#trustDomains = trustedIn(sources.bundles);
    this.#clusters = new Set(sources.peers().map((p) => p.cluster));
    this.#banned = new Set(sources.bundles.allBans().map((b) => b.trustDomain));
    this.#foreign = new Set(sources.foreign?.all().map((b) => b.trustDomain));
    this.#unsubscribe = [
      sources.registry.onChange((names) => this.changed(names)),
      sources.bundles.onChange(() => this.#bundlesChanged()),
      ...(sources.foreign === undefined ? [] : [sources.foreign.onChange(() => this.#foreignChanged())]),
    ];
  }

  changed(services: readonly ServiceName[]): void {
    this.#forget(services.map((s) => `service/${formatServiceName(s)}`));
  }

  peersChanged(): void {
    const before = this.#clusters;
    this.#clusters = new Set(this.#sources.peers().map((p) => p.cluster));
    this.#forget([...new Set([...before, ...this.#clusters])].map((c) => `cluster/${c}`));
  }

  names(place: ProxyPlace): readonly string[] {
    const { bundles, cluster, foreign } = this.#sources;
    const services = new Set(this.#sources.services().map(formatServiceName));
    if (place.kind === 'agent') for (const i of this.#sources.imports()) services.add(formatServiceName(i));
    return [
      ...bundles.all().map((b) => `bundle/${b.trustDomain}`),
      ...bundles.allBans().map((b) => `bans/${b.trustDomain}`),
      ...(foreign?.all() ?? []).map((b) => `foreign-bundle/${b.trustDomain}`),
      `cluster/${cluster}`,
      ...this.#sources.peers().map((p) => `cluster/${p.cluster}`),
      ...[...services].map((s) => `service/${s}`),
    ];
  }

  resource(place: ProxyPlace, name: string): BuiltResource | undefined {
    const built = this.#placeOf(place);
    if (built.has(name)) return built.get(name);
    const resource = this.#build(place, name);
    const entry = resource === undefined ? undefined : { resource, json: JSON.stringify(resource) };
    // Absence is not kept: names come from outside, and what does not exist costs nothing to build.
    if (entry !== undefined) built.set(name, entry);
    return entry;
  }

  onChange(fn: (names: readonly string[]) => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  close(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#listeners.clear();
  }

  /** A gateway's view is the same wherever it stands. */
  #placeOf(place: ProxyPlace): Map<string, BuiltResource | undefined> {
    const key = place.kind === 'gateway' ? 'gateway' : `agent\n${place.network}\n${place.locality}`;
    const built = this.#built.get(key) ?? new Map<string, BuiltResource | undefined>();
    this.#built.delete(key);
    this.#built.set(key, built);
    if (this.#built.size > MAX_PLACES) {
      const [oldest] = this.#built.keys();
      if (oldest !== undefined) this.#built.delete(oldest);
    }
    return built;
  }

  #build(place: ProxyPlace, name: string): SnapshotResource | undefined {
    const slash = name.indexOf('/');
    const rest = name.slice(slash + 1);
    switch (name.slice(0, slash)) {
      case 'service':
        return this.#buildService(place, rest);
      case 'bundle': {
        const bundle = this.#sources.bundles.get(rest);
        return bundle && { kind: 'bundle', bundle };
      }
      case 'foreign-bundle': {
        // Ours by now, whatever it was: then nothing foreign may be known of it.
        const bundle = this.#sources.bundles.get(rest) === undefined ? this.#sources.foreign?.get(rest) : undefined;
        return bundle && { kind: 'foreign-bundle', bundle };
      }
      case 'bans': {
        const banned = this.#sources.bundles.bans(rest);
        return banned && { kind: 'bans', trustDomain: rest, bans: [...banned.bans] };
      }
      case 'cluster':
        return this.#buildCluster(rest);
      default:
        return undefined;
    }
  }

  #buildService(place: ProxyPlace, text: string): SnapshotResource | undefined {
    const parsed = parseServiceName(text);
    if (!parsed.ok) return undefined;
    const name = parsed.value;
    const s = this.#sources;
    return buildServiceView(
      s,
      {
        name,
        declared: s.service(name),
        exported: s.export(name),
        workloads: s.registry.workloads(name),
        imports: s.importsOf(name),
        // An emptied bundle is a fenced cluster’s: its endpoints could only be refused.
        hasBundle: (trustDomain) => (s.bundles.get(trustDomain)?.x509Authorities.length ?? 0) > 0,
      },
      place,
    );
  }

  #buildCluster(cluster: string): SnapshotResource | undefined {
    const { cluster: own, trustDomain } = this.#sources;
    if (cluster === own) return { kind: 'cluster', cluster, trustDomain, state: 'fresh' };
    const peer = this.#sources.peers().find((p) => p.cluster === cluster);
    if (peer === undefined) return undefined;
    const { state, staleSinceMs } = peer;
    return { kind: 'cluster', cluster, trustDomain: peer.trustDomain, state, ...(staleSinceMs === undefined ? {} : { staleSinceMs }) };
  }

  #bundlesChanged(): void {
    const before = this.#trustDomains;
    const after = trustedIn(this.#sources.bundles);
    this.#trustDomains = after;
    // A trust domain that came or went brings or takes the endpoints that stand on it.
    const moved = before.symmetricDifference(after);
    const services = [
      ...(moved.has(this.#sources.trustDomain) ? this.#sources.services() : []),
      ...(moved.size === 0 ? [] : this.#sources.imports().filter((i) => moved.has(i.trustDomain))),
    ].map((s) => `service/${formatServiceName(s)}`);
    const bans = new Set(this.#sources.bundles.allBans().map((b) => b.trustDomain));
    const lifted = this.#banned.union(bans);
    this.#banned = bans;
    this.#forget([...[...before.union(after)].map((td) => `bundle/${td}`), ...[...lifted].map((td) => `bans/${td}`), ...new Set(services)]);
  }

  #foreignChanged(): void {
    const before = this.#foreign;
    this.#foreign = new Set(this.#sources.foreign?.all().map((b) => b.trustDomain));
    this.#forget([...before.union(this.#foreign)].map((td) => `foreign-bundle/${td}`));
  }

  #forget(names: readonly string[]): void {
    if (names.length === 0) return;
    for (const built of this.#built.values()) for (const name of names) built.delete(name);
    for (const listener of this.#listeners) listener(names);
  }
}

/** Trust domains whose bundle vouches for anybody. */
function trustedIn(bundles: BundleSource): ReadonlySet<string> {
  return new Set(bundles.all().filter((b) => b.x509Authorities.length > 0).map((b) => b.trustDomain));
}

/** The whole view at once: what a proxy's first update holds. */
export function buildView(views: Views, place: ProxyPlace): ReadonlyMap<string, SnapshotResource> {
  const resources = views.names(place).map((name) => views.resource(place, name)?.resource);
  return new Map(resources.filter((r) => r !== undefined).map((r) => [resourceName(r), r]));
}
