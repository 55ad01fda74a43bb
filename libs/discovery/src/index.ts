// Control plane to proxy: the registry of workloads, each proxy's view, push and subscribe.
export { type Capacity, openRegistry, type Registry, type RegistryOptions } from './registry.ts';
export { type BuiltResource, openViews, type PeerView, type ProxyPlace, type Views, type ViewSources } from './views.ts';
export { type ProxyStatus, type Push, type PushOptions, servePush } from './push.ts';
export { subscribe, type SubscribeOptions, type Subscription, type SubscriptionStatus } from './subscribe.ts';
