// What can be refused by reading a request alone. Source: etcd server/etcdserver/api/v3rpc/key.go.
import type { etcd, RequestOp } from '../wire.ts';
import { inSpan, type Span } from './mvcc.ts';
import { refuse } from './refusal.ts';

/** etcd's --max-txn-ops and --max-request-bytes. */
export const MAX_TXN_OPS = 128;
export const MAX_REQUEST_BYTES = 1.5 * 1024 * 1024;

export function checkRange(request: etcd.RangeRequest): void {
  if (request.key.length === 0) throw refuse.emptyKey();
}

export function checkPut(request: etcd.PutRequest): void {
  if (request.key.length === 0) throw refuse.emptyKey();
  if (request.ignoreValue && request.value.length > 0) throw refuse.valueProvided();
  if (request.ignoreLease && request.lease !== 0n) throw refuse.leaseProvided();
}

export function checkDelete(request: etcd.DeleteRangeRequest): void {
  if (request.key.length === 0) throw refuse.emptyKey();
}

export function checkTxn(request: etcd.TxnRequest): void {
  checkOps(request, MAX_TXN_OPS);
  // Each branch on its own: only one of them runs.
  checkIntervals(request.success);
  checkIntervals(request.failure);
}

function checkOps(request: etcd.TxnRequest, maxOps: number): void {
  const ops = Math.max(request.compare.length, request.success.length, request.failure.length);
  if (ops > maxOps) throw refuse.tooManyOps();
  if (request.compare.some((compare) => compare.key.length === 0)) throw refuse.emptyKey();
  for (const { request: op } of [...request.success, ...request.failure]) {
    switch (op?.$case) {
      case 'requestRange':
        checkRange(op.value);
        break;
      case 'requestPut':
        checkPut(op.value);
        break;
      case 'requestDeleteRange':
        checkDelete(op.value);
        break;
      case 'requestTxn':
        checkOps(op.value, maxOps - ops);
        break;
      default:
        throw refuse.keyNotFound();
    }
  }
}

type Touched = { readonly puts: Set<string>; readonly deletes: Span[] };

/** A key may be put once in a transaction, and not be put and deleted: history has one change a key a revision. */
function checkIntervals(ops: readonly RequestOp[]): Touched {
  const puts = new Set<string>();
  const deletes: Span[] = [];
  for (const { request } of ops) {
    if (request?.$case === 'requestDeleteRange') deletes.push({ key: request.value.key, end: request.value.rangeEnd });
  }
  const addPut = (name: string, safe?: ReadonlySet<string>): void => {
    if (puts.has(name) && safe?.has(name) !== true) throw refuse.duplicateKey();
    const key = Buffer.from(name, 'latin1');
    if (deletes.some((span) => inSpan(span, key))) throw refuse.duplicateKey();
    puts.add(name);
  };
  for (const { request } of ops) {
    if (request?.$case !== 'requestTxn') continue;
    const then = checkIntervals(request.value.success);
    const otherwise = checkIntervals(request.value.failure);
    for (const name of then.puts) addPut(name);
    // A key put in both branches of one nested transaction is put once.
    for (const name of otherwise.puts) addPut(name, then.puts);
    deletes.push(...then.deletes, ...otherwise.deletes);
  }
  for (const { request } of ops) if (request?.$case === 'requestPut') addPut(request.value.key.toString('latin1'));
  return { puts, deletes };
}
