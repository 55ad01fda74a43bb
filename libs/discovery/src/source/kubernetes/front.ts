// The pods of one node whose Services ask for it, as an agent of that node sees them: what it speaks for, and how each is.
import { formatServiceName, type ServiceName } from '@isthmus/model';
import type { Clock, Random } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { type AccessOptions, openAccess } from './access.ts';
import { type ApiLimits, openKubernetesApi } from './api.ts';
import { endpointsOf, type ServiceEndpoint } from './endpoints.ts';
import { followMetrics } from './follow.ts';
import { type FollowedStatus, followGroup } from './group.ts';
import { ENDPOINT_SLICES, FRONTED_SELECTOR } from './kinds.ts';

export type NodeEndpointsOptions = AccessOptions & {
  /** The node whose pods these are. */
  readonly nodeName: string;
  readonly namespaces?: readonly string[] | undefined;
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly limits?: Partial<ApiLimits> | undefined;
};

export interface NodeEndpoints {
  /** Endpoints of this node in Services labelled `isthmus/agent=node`; undefined until they were listed whole once. */
  list(): readonly ServiceEndpoint[] | undefined;
  status(): readonly FollowedStatus[];
  close(): Promise<void>;
}

/** Follows EndpointSlices with that label, which they have from their Service. **Throws** DISCOVERY_KUBERNETES_CONFIG. */
export async function openNodeEndpoints(options: NodeEndpointsOptions): Promise<NodeEndpoints> {
  const access = await openAccess(options);
  const { clock, random, log, nodeName } = options;
  const api = openKubernetesApi({ access, clock, ...(options.limits && { limits: options.limits }) });
  const slices = followGroup(options.namespaces, {
    api,
    kind: ENDPOINT_SLICES,
    labelSelector: FRONTED_SELECTOR,
    onChange: options.onChange,
    clock,
    random,
    log,
    metrics: followMetrics(options.metrics),
  });
  return {
    list() {
      if (!slices.isKnown()) return undefined;
      const all = slices.values();
      const here = all.filter((slice) => slice.endpoints.some((e) => e.nodeName === nodeName));
      const services = new Map(here.filter((s) => s.service !== '').map((s): [string, ServiceName] => [`${s.namespace}/${s.service}`, { namespace: s.namespace, name: s.service }]));
      return [...services.values()]
        .sort((a, b) => (formatServiceName(a) < formatServiceName(b) ? -1 : 1))
        .flatMap((service) => endpointsOf(service, all.filter((s) => s.namespace === service.namespace && s.service === service.name)))
        .filter((e) => e.nodeName === nodeName);
    },
    status: () => slices.status(),
    async close() {
      await slices.close();
      await api.close();
    },
  };
}
