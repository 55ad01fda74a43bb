// What to do with one connection or request: pure functions over a compiled snapshot.
export { compile, type CompiledService, type Engine, type Route, type RouteRefusal, type ServiceRequest } from './engine.ts';
export { priorityLoad, PURE_FAILOVER, type TierHealth } from './failover.ts';
export { type Explanation, type Pick, pickFrom, type PickRequest, type RejectReason, type Standing } from './pick.ts';
export { mayRetry, type RetryQuestion, type RetryVerdict } from './retry.ts';
