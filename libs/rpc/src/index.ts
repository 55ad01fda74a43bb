// Our protos, their generated code, and the one way to dial and serve gRPC.
export * as admin from './gen/isthmus/v1/admin.ts';
export * as agent from './gen/isthmus/v1/agent.ts';
export * as discovery from './gen/isthmus/v1/discovery.ts';
export * as identity from './gen/isthmus/v1/identity.ts';
export * as trust from './gen/isthmus/v1/trust.ts';
export * as etcdKv from './gen/etcd/kv.ts';
export * as etcd from './gen/etcd/rpc.ts';
export * as health from './gen/health/health.ts';
export { splitAddress } from './address.ts';
export { call, handleUnary } from './call.ts';
export { type Caller, callerOf } from './caller.ts';
export { MAX_MESSAGE_BYTES, openChannel, type OpenChannelOptions, type RpcChannel } from './channel.ts';
export * from './grpc.ts';
export { presentedChain } from './peer-chain.ts';
export { fetchPinnedRoot } from './pinned-root.ts';
export { type RpcServer, type RpcService, startRpcServer, type StartRpcServerOptions } from './server.ts';
export { fromServiceError, toServiceError } from './status.ts';
