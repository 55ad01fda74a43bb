// One request against the state, as etcd's apply.go does it: checks first, then changes, so a refusal changes nothing.
import { etcd, NO_BYTES, type RequestOp, type ResponseOp } from '../wire.ts';
import { checkDelete, checkPut, checkRange, checkTxn } from './check.ts';
import type { Lessor } from './lessor.ts';
import { type Change, type Mvcc, type Span, toKeyValue } from './mvcc.ts';
import { refuse } from './refusal.ts';

const { RangeRequest_SortOrder: Order, RangeRequest_SortTarget: Target, Compare_CompareResult: Result, Compare_CompareTarget: On } = etcd;

type Header = etcd.ResponseHeader;

export class Applier {
  readonly #mvcc: Mvcc;
  readonly #lessor: Lessor;

  constructor(mvcc: Mvcc, lessor: Lessor) {
    this.#mvcc = mvcc;
    this.#lessor = lessor;
  }

  header(revision: bigint = this.#mvcc.revision): Header {
    return { clusterId: this.#mvcc.clusterId, memberId: this.#mvcc.memberId, revision, raftTerm: 1n };
  }

  /** A read on its own. */
  range(request: etcd.RangeRequest): etcd.RangeResponse {
    checkRange(request);
    return { ...this.#range(request), header: this.header() };
  }

  put(request: etcd.PutRequest): etcd.PutResponse {
    checkPut(request);
    this.#checkPutState(request);
    const response = this.#put(request);
    return { ...response, header: this.header(this.#mvcc.endRevision()) };
  }

  deleteRange(request: etcd.DeleteRangeRequest): etcd.DeleteRangeResponse {
    checkDelete(request);
    const response = this.#deleteRange(request);
    return { ...response, header: this.header(this.#mvcc.endRevision()) };
  }

  txn(request: etcd.TxnRequest): etcd.TxnResponse {
    checkTxn(request);
    const path = this.#decide(request);
    this.#checkPath(path);
    const response = this.#run(path);
    return { ...response, header: this.header(this.#mvcc.endRevision()) };
  }

  compact(request: etcd.CompactionRequest): etcd.CompactionResponse {
    this.#mvcc.compact(request.revision);
    return { header: this.header() };
  }

  grant(request: etcd.LeaseGrantRequest): etcd.LeaseGrantResponse {
    const lease = this.#lessor.grant(request.ID, request.TTL);
    return { header: this.header(), ID: lease.id, TTL: lease.ttlSeconds, error: '' };
  }

  revoke(request: etcd.LeaseRevokeRequest): etcd.LeaseRevokeResponse {
    this.#lessor.revoke(request.ID);
    return { header: this.header(this.#mvcc.endRevision()) };
  }

  #range(request: etcd.RangeRequest): etcd.RangeResponse {
    const span = spanOf(request);
    const header = this.header(this.#mvcc.seenRevision);
    const count = this.#mvcc.count(span, request.revision);
    if (request.countOnly) return { header, kvs: [], more: false, count };
    const filtered = request.minModRevision > 0n || request.maxModRevision > 0n || request.minCreateRevision > 0n || request.maxCreateRevision > 0n;
    // etcd fetches one more than the limit to know `more`, and everything when it has to sort or filter first.
    const fetch = request.limit <= 0n || filtered || request.sortOrder !== Order.NONE ? 0n : request.limit + 1n;
    let found = this.#mvcc.range(span, request.revision, fetch);
    if (filtered) found = found.filter((change) => isWanted(request, change));
    sort(found, request);
    const more = request.limit > 0n && BigInt(found.length) > request.limit;
    if (more) found = found.slice(0, Number(request.limit));
    const kvs = found.map(toKeyValue);
    return { header, kvs: request.keysOnly ? kvs.map((kv) => ({ ...kv, value: NO_BYTES })) : kvs, more, count };
  }

  #put(request: etcd.PutRequest): etcd.PutResponse {
    const before = request.ignoreValue || request.ignoreLease ? this.#mvcc.get(request.key) : undefined;
    const value = request.ignoreValue ? (before?.value ?? NO_BYTES) : request.value;
    const lease = request.ignoreLease ? (before?.lease ?? 0n) : request.lease;
    const previous = this.#mvcc.put(request.key, value, lease);
    this.#lessor.attach(request.key, lease);
    return {
      header: this.header(this.#mvcc.seenRevision),
      prevKv: request.prevKv && previous !== undefined ? toKeyValue(previous) : undefined,
    };
  }

  #deleteRange(request: etcd.DeleteRangeRequest): etcd.DeleteRangeResponse {
    const gone = this.#mvcc.delete(spanOf(request));
    for (const { key } of gone) this.#lessor.attach(key, 0n);
    return { header: this.header(this.#mvcc.seenRevision), deleted: BigInt(gone.length), prevKvs: request.prevKv ? gone.map(toKeyValue) : [] };
  }

  /** Which branch each transaction takes, nested ones included, all judged by the state before any of its writes. */
  #decide(request: etcd.TxnRequest): Path {
    const succeeded = request.compare.every((compare) => this.#holds(compare));
    const ops = succeeded ? request.success : request.failure;
    return { succeeded, ops: ops.map((op) => ({ op, path: op.request?.$case === 'requestTxn' ? this.#decide(op.request.value) : undefined })) };
  }

  #checkPath(path: Path): void {
    for (const { op, path: nested } of path.ops) {
      if (nested !== undefined) this.#checkPath(nested);
      else if (op.request?.$case === 'requestPut') this.#checkPutState(op.request.value);
      else if (op.request?.$case === 'requestRange') this.#checkRangeState(op.request.value);
    }
  }

  #checkPutState(request: etcd.PutRequest): void {
    if ((request.ignoreValue || request.ignoreLease) && this.#mvcc.get(request.key) === undefined) throw refuse.keyNotFound();
    if (request.lease !== 0n && !this.#lessor.has(request.lease)) throw refuse.leaseNotFound();
  }

  #checkRangeState(request: etcd.RangeRequest): void {
    if (request.revision <= 0n) return;
    if (request.revision > this.#mvcc.revision) throw refuse.futureRevision();
    if (request.revision < this.#mvcc.compactedRevision) throw refuse.compacted();
  }

  #run(path: Path): etcd.TxnResponse {
    const responses = path.ops.map(({ op, path: nested }): ResponseOp => {
      const request = op.request;
      if (nested !== undefined) return { response: { $case: 'responseTxn', value: this.#run(nested) } };
      switch (request?.$case) {
        case 'requestRange':
          return { response: { $case: 'responseRange', value: this.#range(request.value) } };
        case 'requestPut':
          return { response: { $case: 'responsePut', value: this.#put(request.value) } };
        case 'requestDeleteRange':
          return { response: { $case: 'responseDeleteRange', value: this.#deleteRange(request.value) } };
        default:
          throw refuse.keyNotFound();
      }
    });
    return { header: this.header(this.#mvcc.seenRevision), succeeded: path.succeeded, responses };
  }

  #holds(compare: etcd.Compare): boolean {
    const found = this.#mvcc.range({ key: compare.key, end: compare.rangeEnd }, 0n, 0n);
    if (found.length > 0) return found.every((change) => compareHolds(compare, change));
    // A value cannot be compared with a key that is not there (there is no way to write "no value").
    return compare.target !== On.VALUE && compareHolds(compare, undefined);
  }
}

type Path = { readonly succeeded: boolean; readonly ops: readonly { readonly op: RequestOp; readonly path: Path | undefined }[] };

function compareHolds(compare: etcd.Compare, change: Change | undefined): boolean {
  const order = compareTarget(compare, change);
  switch (compare.result) {
    case Result.EQUAL:
      return order === 0;
    case Result.NOT_EQUAL:
      return order !== 0;
    case Result.GREATER:
      return order > 0;
    case Result.LESS:
      return order < 0;
    default:
      return true;
  }
}

function compareTarget(compare: etcd.Compare, change: Change | undefined): number {
  const wanted = compare.targetUnion;
  const number = (kind: NonNullable<etcd.Compare['targetUnion']>['$case'], value: bigint): number => {
    const other = wanted?.$case === kind ? (wanted.value as bigint) : 0n;
    return value < other ? -1 : value > other ? 1 : 0;
  };
  switch (compare.target) {
    case On.VERSION:
      return number('version', change?.version ?? 0n);
    case On.CREATE:
      return number('createRevision', change?.createRevision ?? 0n);
    case On.MOD:
      return number('modRevision', change?.rev ?? 0n);
    case On.LEASE:
      return number('lease', change?.lease ?? 0n);
    case On.VALUE:
      return Buffer.compare(change?.value ?? NO_BYTES, wanted?.$case === 'value' ? wanted.value : NO_BYTES);
    default:
      return 0;
  }
}

function isWanted(request: etcd.RangeRequest, change: Change): boolean {
  const within = (value: bigint, min: bigint, max: bigint): boolean => (min <= 0n || value >= min) && (max <= 0n || value <= max);
  return (
    within(change.rev, request.minModRevision, request.maxModRevision) &&
    within(change.createRevision, request.minCreateRevision, request.maxCreateRevision)
  );
}

/* etcd sorts ascending when a target other than the key is named without an order. */
function sort(found: Change[], request: etcd.RangeRequest): void {
  if (request.sortOrder === Order.NONE && request.sortTarget === Target.KEY) return;
  const sign = request.sortOrder === Order.DESCEND ? -1 : 1;
  const by = SORT_BY[request.sortTarget] ?? SORT_BY[Target.KEY];
  found.sort((a, b) => sign * by(a, b));
}

const bigintOrder = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);
const SORT_BY: Readonly<Record<number, (a: Change, b: Change) => number>> & { readonly 0: (a: Change, b: Change) => number } = {
  0: (a, b) => a.key.compare(b.key),
  [Target.VERSION]: (a, b) => bigintOrder(a.version, b.version),
  [Target.CREATE]: (a, b) => bigintOrder(a.createRevision, b.createRevision),
  [Target.MOD]: (a, b) => bigintOrder(a.rev, b.rev),
  [Target.VALUE]: (a, b) => a.value.compare(b.value),
};

function spanOf(request: { readonly key: Buffer; readonly rangeEnd: Buffer }): Span {
  return { key: request.key, end: request.rangeEnd };
}
