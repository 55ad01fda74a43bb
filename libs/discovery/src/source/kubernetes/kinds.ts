// The three kinds that are followed, each with its place in the API.
import type { FollowedKind } from './follow.ts';
import { type KubeEndpointSlice, type KubeService, type KubeServiceExport, parseKubeEndpointSlice, parseKubeService, parseKubeServiceExport } from './objects.ts';

const listPath = (group: string, plural: string) => (namespace: string | undefined) => `${group}/${namespace === undefined ? '' : `namespaces/${namespace}/`}${plural}`;
const MCS = '/apis/multicluster.x-k8s.io/v1alpha1';

export const SERVICES: FollowedKind<KubeService> = { plural: 'services', path: listPath('/api/v1', 'services'), parse: parseKubeService };
export const ENDPOINT_SLICES: FollowedKind<KubeEndpointSlice> = { plural: 'endpointslices', path: listPath('/apis/discovery.k8s.io/v1', 'endpointslices'), parse: parseKubeEndpointSlice };
export const SERVICE_EXPORTS: FollowedKind<KubeServiceExport> = { plural: 'serviceexports', path: listPath(MCS, 'serviceexports'), parse: parseKubeServiceExport };

/** Where the status of one export is written. */
export function exportStatusPath(namespace: string, name: string): string {
  return `${MCS}/namespaces/${namespace}/serviceexports/${name}/status`;
}

/** Label of a Service, which its EndpointSlices take over: the agents of their nodes speak for its pods. */
export const FRONTED_LABEL = 'isthmus/agent';
export const FRONTED_SELECTOR = `${FRONTED_LABEL}=node`;
