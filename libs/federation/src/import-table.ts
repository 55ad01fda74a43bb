// What all peers offer this cluster, by service: the merged picture that views are made from.
import { formatServiceName, type ImportedService, type ServiceName } from '@isthmus/model';

/** Imports by service and cluster. Clusters never merge: each keeps its own entry, so there is nothing to win or lose. */
export class ImportTable {
  readonly #services = new Map<string, Map<string, ImportedService>>();

  all(): readonly ImportedService[] {
    return [...this.#services.values()].flatMap((clusters) => [...clusters.values()]);
  }

  /** One service's imports, in the order of their clusters' names. */
  of(name: ServiceName): readonly ImportedService[] {
    const clusters = this.#services.get(formatServiceName(name));
    return clusters === undefined ? [] : [...clusters.values()].sort((a, b) => (a.cluster < b.cluster ? -1 : 1));
  }

  /** Sets or (with undefined) removes what a cluster offers of a service; false when nothing changed. */
  set(name: ServiceName, cluster: string, imported: ImportedService | undefined): boolean {
    const key = formatServiceName(name);
    const clusters = this.#services.get(key) ?? new Map<string, ImportedService>();
    const before = clusters.get(cluster);
    if (JSON.stringify(before) === JSON.stringify(imported)) return false;
    if (imported === undefined) clusters.delete(cluster);
    else clusters.set(cluster, imported);
    if (clusters.size === 0) this.#services.delete(key);
    else this.#services.set(key, clusters);
    return true;
  }
}
