// gRPC on one side, the embedded store's parts on the other: each RPC in a line or two.
import { messageOf } from '@isthmus/model';
import { type sendUnaryData, type Server, type ServerDuplexStream, type ServerUnaryCall, status, type UntypedServiceImplementation } from '../grpc.ts';
import { etcd } from '../wire.ts';
import type { Applier } from './apply.ts';
import { MAX_REQUEST_BYTES } from './check.ts';
import type { Lessor } from './lessor.ts';
import type { Mvcc } from './mvcc.ts';
import { EtcdRefusal, refuse } from './refusal.ts';
import type { WatchHub } from './watch-hub.ts';
import type { WriteQueue } from './write-queue.ts';

export interface Parts {
  readonly mvcc: Mvcc;
  readonly lessor: Lessor;
  readonly applier: Applier;
  readonly hub: WatchHub;
  readonly queue: WriteQueue;
}

/** The version etcdctl and clients see; the API level this server speaks. */
const API_VERSION = '3.5.0';

export function addServices(server: Server, parts: Parts): void {
  const { applier, lessor, mvcc, queue } = parts;
  const write = <Q, R>(apply: (request: Q) => R, codec?: { encode(message: Q): { finish(): Uint8Array } }) =>
    unary<Q, R>((request) => {
      if (codec !== undefined && codec.encode(request).finish().length > MAX_REQUEST_BYTES) throw refuse.tooLarge();
      return queue.run(() => apply(request));
    });

  const kv: etcd.KVServer = {
    range: unary((request) => applier.range(request)),
    put: write((request) => applier.put(request), etcd.PutRequest),
    deleteRange: write((request) => applier.deleteRange(request)),
    txn: write((request) => applier.txn(request), etcd.TxnRequest),
    compact: write((request) => applier.compact(request)),
  };
  const lease: etcd.LeaseServer = {
    leaseGrant: write((request) => applier.grant(request)),
    leaseRevoke: write((request) => applier.revoke(request)),
    leaseKeepAlive: (call) => {
      call.on('data', ({ ID }: etcd.LeaseKeepAliveRequest) => {
        call.write({ header: applier.header(), ID, TTL: lessor.keepAlive(ID) ?? 0n });
      });
      call.on('end', () => call.end());
      call.on('error', () => call.end());
    },
    leaseTimeToLive: unary(({ ID, keys }) => {
      const held = lessor.timeToLive(ID);
      if (held === undefined) return { header: applier.header(), ID, TTL: -1n, grantedTTL: 0n, keys: [] };
      return { header: applier.header(), ID, TTL: held.remainingSeconds, grantedTTL: held.ttlSeconds, keys: keys ? held.keys : [] };
    }),
    leaseLeases: unary(() => ({ header: applier.header(), leases: lessor.ids().map((ID) => ({ ID })) })),
  };
  const watch: etcd.WatchServer = { watch: (call) => serveWatch(call, parts.hub) };
  const maintenance: etcd.MaintenanceServer = {
    alarm: unary((request) => {
      if (request.action !== etcd.AlarmRequest_AlarmAction.GET) throw new EtcdRefusal(status.UNIMPLEMENTED, 'this store sets no alarms');
      return { header: applier.header(), alarms: [] };
    }),
    status: unary(() => {
      const size = mvcc.sizeBytes();
      const index = mvcc.revision;
      const leader = mvcc.memberId;
      return {
        header: applier.header(),
        version: API_VERSION,
        dbSize: size.all,
        dbSizeInUse: size.used,
        leader,
        raftIndex: index,
        raftAppliedIndex: index,
        raftTerm: 1n,
        errors: [],
        isLearner: false,
      };
    }),
  };
  const auth: etcd.AuthServer = {
    authenticate: unary(() => {
      throw refuse.authNotEnabled();
    }),
  };
  server.addService(etcd.KVService, kv as unknown as UntypedServiceImplementation);
  server.addService(etcd.LeaseService, lease as unknown as UntypedServiceImplementation);
  server.addService(etcd.WatchService, watch as unknown as UntypedServiceImplementation);
  server.addService(etcd.MaintenanceService, maintenance as unknown as UntypedServiceImplementation);
  server.addService(etcd.AuthService, auth as unknown as UntypedServiceImplementation);
}

function serveWatch(call: ServerDuplexStream<etcd.WatchRequest, etcd.WatchResponse>, hub: WatchHub): void {
  const stream = hub.open({ write: (response) => call.write(response) });
  call.on('data', (request: etcd.WatchRequest) => stream.handle(request));
  call.on('drain', () => stream.onDrain());
  call.on('cancelled', () => stream.close());
  call.on('error', () => stream.close());
  call.on('end', () => {
    stream.close();
    call.end();
  });
}

function unary<Q, R>(answer: (request: Q) => R | Promise<R>) {
  return (call: ServerUnaryCall<Q, R>, callback: sendUnaryData<R>): void => {
    Promise.try(answer, call.request).then(
      (response) => callback(null, response),
      (error: unknown) => {
        if (error instanceof EtcdRefusal) callback({ code: error.code, details: error.details });
        else callback({ code: status.INTERNAL, details: `etcdserver: ${messageOf(error)}` });
      },
    );
  };
}
