// Which connections lead to where the snapshot no longer does: they may finish, within a limit.
import type { Engine } from '@isthmus/decide';
import type { Snapshot } from '@isthmus/model';

/** The target's id where requests are carried by this process itself. */
export const LAYER7_TARGET = 'layer7';

/** Stands for one address of one endpoint; an endpoint that moved is another one. */
export function targetKey(target: { readonly id: string; readonly host: string; readonly port: number }): string {
  // Stands in no snapshot by its address: it is reachable while the service asks for layer 7.
  return target.id === LAYER7_TARGET ? LAYER7_TARGET : `${target.id} ${target.host} ${target.port}`;
}

/** Keys of everything a gateway may reach for a service by this snapshot; empty when it is gone or exported no more. Pure. */
export function reachableTargets(snapshot: Snapshot, service: string): ReadonlySet<string> {
  const keys = new Set<string>();
  const view = snapshot.resources.get(`service/${service}`);
  if (view?.kind !== 'service' || !view.exported) return keys;
  if (view.gatewayLayer === 7) keys.add(LAYER7_TARGET);
  for (const { id, host, ports } of view.endpoints) for (const port of Object.values(ports)) keys.add(targetKey({ id, host, port }));
  return keys;
}

/** The `namespace/name` of each service among the keys of changed resources. */
export function changedServices(changed: readonly string[]): readonly string[] {
  return changed.filter((key) => key.startsWith('service/')).map((key) => key.slice('service/'.length));
}

/** Ids of the endpoints that changed services had before and have no more. Pure; costs the changed services alone. */
export function departedEndpoints(before: Engine, after: Engine, changed: readonly string[]): readonly string[] {
  return changedServices(changed).flatMap((key) => {
    const [namespace = '', name = ''] = key.split('/');
    const left = new Set(after.service({ namespace, name })?.endpoints.map((e) => e.id));
    return (before.service({ namespace, name })?.endpoints ?? []).flatMap(({ id }) => (left.has(id) ? [] : [id]));
  });
}

/** A connection as its departure is judged. */
export interface Departing {
  readonly service: string;
  /** By `targetKey`. */
  readonly target: string;
}

/**
 * Connections by service, and since when those have been leading nowhere that do. What comes back to the snapshot in time is
 * left alone. Pure but for the time passed in. **Bounds** the connections in it; a change costs the changed services alone.
 */
export class Departures<C extends Departing> {
  readonly #limitMs: number;
  readonly #byService = new Map<string, Set<C>>();
  /** When each departed connection's time is up, soonest first: the limit is the same for all. */
  readonly #deadlines = new Map<C, number>();

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  add(connection: C): void {
    let connections = this.#byService.get(connection.service);
    if (connections === undefined) this.#byService.set(connection.service, (connections = new Set()));
    connections.add(connection);
  }

  delete(connection: C): void {
    const connections = this.#byService.get(connection.service);
    connections?.delete(connection);
    if (connections?.size === 0) this.#byService.delete(connection.service);
    if (this.#deadlines.size > 0) this.#deadlines.delete(connection);
  }

  /** Looks at the connections of services that changed. */
  changed(snapshot: Snapshot, changed: readonly string[], nowMs: number): void {
    for (const service of changedServices(changed)) {
      const connections = this.#byService.get(service);
      if (connections === undefined) continue;
      const reachable = reachableTargets(snapshot, service);
      for (const connection of connections) {
        if (reachable.has(connection.target)) this.#deadlines.delete(connection);
        else if (!this.#deadlines.has(connection)) this.#deadlines.set(connection, nowMs + this.#limitMs);
      }
    }
  }

  /** When the next connection's time is up; undefined when none has departed. */
  nextDeadlineMs(): number | undefined {
    return this.#deadlines.values().next().value;
  }

  /** Connections whose time is up, each given once; they stay known until deleted. */
  takeDue(nowMs: number): readonly C[] {
    const due: C[] = [];
    for (const [connection, deadlineMs] of this.#deadlines) {
      if (deadlineMs > nowMs) break;
      this.#deadlines.delete(connection);
      due.push(connection);
    }
    return due;
  }
}
