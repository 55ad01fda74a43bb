// The face of what comes from Kubernetes: a face of its own, since few programs talk to one, and its client is large.
export { type KubernetesSource, type KubernetesSourceOptions, type KubernetesStatus, openKubernetesSource } from './source.ts';
export { type NodeEndpoints, type NodeEndpointsOptions, openNodeEndpoints } from './front.ts';
export { localityOf, type ServiceEndpoint } from './endpoints.ts';
