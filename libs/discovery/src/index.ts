// Control plane to proxy: the registry of workloads, each proxy's view, push and subscribe.
export { type Capacity, openRegistry, type Registry, type RegistryOptions } from './registry.ts';
export { buildServiceView, type OwnCluster, type ProxyPlace, type ServiceFacts } from './view.ts';
export { buildView, type BuiltResource, openViews, type PeerView, type Views, type ViewSources } from './views.ts';
export { type Push, type PushOptions, servePush } from './push.ts';
export type { ProxyDrain, ProxyStatus, ProxyTrustFacts } from './proxy-stream.ts';
export { type DrainFollower, openDrainFollower } from './drain-follower.ts';
export { subscribe, type SubscribeOptions, type Subscription, type SubscriptionStatus } from './subscribe.ts';
