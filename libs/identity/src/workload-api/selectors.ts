// Which workloads a process is, by what the kernel says of it.
import { formatServiceName, type Selectors, type ServiceName } from '@isthmus/model';
import type { UnixPeer } from '@isthmus/rpc';

/** A workload beside this agent whose processes may have its identity. */
export type ServedWorkload = { readonly service: ServiceName; readonly selectors: Selectors };

/** Whether all selectors that are given match, and at least one is. A process whose program is not known has no path. */
export function isSelected(selectors: Selectors, peer: UnixPeer): boolean {
  const { uid, gid, path } = selectors;
  if (uid === undefined && gid === undefined && path === undefined) return false;
  return (uid === undefined || uid === peer.uid) && (gid === undefined || gid === peer.gid) && (path === undefined || path === peer.path);
}

/** The services a process may be, each once, in the order of the workloads: the first is its default identity. */
export function servicesOf(workloads: readonly ServedWorkload[], peer: UnixPeer): readonly ServiceName[] {
  const found = new Map<string, ServiceName>();
  for (const { service, selectors } of workloads) {
    if (isSelected(selectors, peer)) found.set(formatServiceName(service), service);
  }
  return [...found.values()];
}
