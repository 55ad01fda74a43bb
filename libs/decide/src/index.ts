// What to do with one connection or request: pure functions over a compiled snapshot.
export { compile, type CompiledService, type Engine, type Route, type RouteRefusal } from './engine.ts';
export { type Pick, type PickRequest, type RejectReason } from './pick.ts';
