// What the embedded server refuses, in etcd's own words and codes, so that clients written for etcd understand them.
import { status } from '../grpc.ts';

/** A refusal of one request; nothing was changed by it. */
export class EtcdRefusal extends Error {
  readonly code: number;
  readonly details: string;

  constructor(code: number, details: string) {
    super(details);
    this.name = 'EtcdRefusal';
    this.code = code;
    this.details = details;
  }
}

/** Source: etcd api/v3rpc/rpctypes/error.go. */
export const refuse = {
  emptyKey: () => new EtcdRefusal(status.INVALID_ARGUMENT, 'etcdserver: key is not provided'),
  keyNotFound: () => new EtcdRefusal(status.INVALID_ARGUMENT, 'etcdserver: key not found'),
  valueProvided: () => new EtcdRefusal(status.INVALID_ARGUMENT, 'etcdserver: value is provided'),
  leaseProvided: () => new EtcdRefusal(status.INVALID_ARGUMENT, 'etcdserver: lease is provided'),
  tooManyOps: () => new EtcdRefusal(status.INVALID_ARGUMENT, 'etcdserver: too many operations in txn request'),
  duplicateKey: () => new EtcdRefusal(status.INVALID_ARGUMENT, 'etcdserver: duplicate key given in txn request'),
  tooLarge: () => new EtcdRefusal(status.INVALID_ARGUMENT, 'etcdserver: request is too large'),
  compacted: () => new EtcdRefusal(status.OUT_OF_RANGE, 'etcdserver: mvcc: required revision has been compacted'),
  futureRevision: () => new EtcdRefusal(status.OUT_OF_RANGE, 'etcdserver: mvcc: required revision is a future revision'),
  noSpace: () => new EtcdRefusal(status.RESOURCE_EXHAUSTED, 'etcdserver: mvcc: database space exceeded'),
  leaseNotFound: () => new EtcdRefusal(status.NOT_FOUND, 'etcdserver: requested lease not found'),
  leaseExists: () => new EtcdRefusal(status.FAILED_PRECONDITION, 'etcdserver: lease already exists'),
  leaseTtlTooLarge: () => new EtcdRefusal(status.OUT_OF_RANGE, 'etcdserver: too large lease TTL'),
  authNotEnabled: () => new EtcdRefusal(status.FAILED_PRECONDITION, 'etcdserver: authentication is not enabled'),
  stopped: () => new EtcdRefusal(status.UNAVAILABLE, 'etcdserver: server stopped'),
} as const;
