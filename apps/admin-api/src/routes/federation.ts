// The federation as one cluster sees it: each other cluster asked itself, and where it does not answer, what its mirror says and how old that is.
import { IsthmusError } from '@isthmus/model';
import { fail, statusOf, toProblemDocument } from '@isthmus/api';
import type { ControlPlane, Found } from '../control-plane.ts';
import type { Config } from '../config.ts';
import type { Forward } from '../forward.ts';
import type { Answered, Work } from '../server.ts';
import { cursorOf, pageLimit, toItem } from './read.ts';

type Part = { readonly cluster: string; readonly source: 'own' | 'forwarded' | 'mirror'; readonly ageMs?: number; readonly status?: object; readonly problem?: object };

/** Every cluster's state: one that cannot be reached is a problem in its own part, beside what its mirror says. */
export async function federationStatus(parts: { readonly config: Config; readonly controlPlane: ControlPlane; readonly forward: Forward }, work: Work): Promise<object> {
  const { config, controlPlane, forward } = parts;
  const [own, members, peers] = await Promise.all([controlPlane.status(), controlPlane.list({ kind: 'member' }), controlPlane.list({ kind: 'peer' })]);
  const others = members.items.map((m) => String(m.document['cluster'])).filter((cluster) => cluster !== config.cluster);
  const ask = async (cluster: string): Promise<Part> => {
    const peer = peers.items.find((p) => p.document['cluster'] === cluster)?.document;
    try {
      if (work.caller.forwardedBy !== undefined) throw fail('API_FORWARD_REFUSED', 'a forwarded request is not forwarded on');
      return { cluster, source: 'forwarded', status: await forward.get(cluster, `/v1/clusters/${cluster}/status`, work) };
    } catch (error) {
      const { status, code, detail } = toProblemDocument(error);
      return { cluster, source: 'mirror', ...ageOf(peer), status: peer ?? {}, problem: { status: error instanceof IsthmusError ? statusOf(error) : status, code, detail } };
    }
  };
  return { cluster: config.cluster, clusters: [{ cluster: config.cluster, source: 'own', status: own }, ...(await Promise.all(others.map(ask)))] };
}

/** What another cluster offers, from its mirror here: there also while that cluster is away, and it says how old it is. */
export async function mirroredExports(controlPlane: ControlPlane, cluster: string, work: Work): Promise<Answered> {
  const [imports, peer] = await Promise.all([controlPlane.list({ kind: 'import', namespace: work.query['namespace'] ?? '' }), controlPlane.get('peer', cluster)]);
  if (peer === undefined) throw fail('API_CLUSTER_UNKNOWN', `no cluster ${cluster} is a member of the federation`);
  const isVisible = (found: Found): boolean => work.namespaces === 'all' || work.namespaces.has(String(found.document['namespace']));
  const after = cursorOf(work);
  const limit = pageLimit(work);
  const all = imports.items.filter((i) => i.document['cluster'] === cluster && i.key > after && isVisible(i)).toSorted((a, b) => (a.key < b.key ? -1 : 1));
  const shown = all.slice(0, limit);
  const last = all.length > limit ? shown.at(-1)?.key : undefined;
  return { status: 200, value: { cluster, items: shown.map(toItem), ...(last !== undefined && { next: Buffer.from(last).toString('base64url') }), ...ageOf(peer.document) } };
}

function ageOf(peer: Readonly<Record<string, unknown>> | undefined): { readonly ageMs?: number } {
  return typeof peer?.['ageMs'] === 'number' ? { ageMs: Math.round(peer['ageMs']) } : {};
}
