// gRPC in HTTP's words.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatGrpcTimeout, grpcStatusOf, grpcTimeoutMs, grpcTrailers, isGrpc } from './grpc.ts';

test('a call is told by its content type, and gRPC-Web is none', () => {
  for (const type of ['application/grpc', 'application/grpc+proto', 'application/grpc;charset=utf-8']) assert.equal(isGrpc(['content-type', type]), true, type);
  for (const type of ['application/grpc-web', 'application/grpcx', 'application/json', '']) assert.equal(isGrpc(['content-type', type]), false, type);
  assert.equal(isGrpc([]), false);
});

test('a deadline is read in each unit, and one of another form is none', () => {
  const rows: readonly [string, number | undefined][] = [
    ['1H', 3_600_000], ['2M', 120_000], ['3S', 3_000], ['4m', 4], ['5000u', 5], ['6000000n', 6],
    ['123456789m', undefined], ['1', undefined], ['m', undefined], ['-1m', undefined], ['1.5S', undefined], ['1s', undefined],
  ];
  for (const [text, want] of rows) assert.equal(grpcTimeoutMs(['grpc-timeout', text]), want, text);
  assert.equal(grpcTimeoutMs([]), undefined);
});

test('a time left is written without ever growing', () => {
  for (const leftMs of [0, 0.4, 1, 17.123456, 99_999, 100_000, 99_999_999, 1e9, 1e12]) {
    const read = grpcTimeoutMs(['grpc-timeout', formatGrpcTimeout(leftMs)]);
    assert.ok(read !== undefined && read <= leftMs && (read >= leftMs * 0.99 - 0.001 || leftMs > 9.9e10), `${leftMs} became ${read}`);
  }
  assert.equal(formatGrpcTimeout(-5), '0u');
});

test('a message is percent-encoded outside printable ASCII', () => {
  assert.deepEqual(grpcTrailers(14, 'häh? 100%\n'), ['grpc-status', '14', 'grpc-message', 'h%C3%A4h? 100%25%0A']);
});

test('what is temporary in HTTP is UNAVAILABLE in gRPC, and a time limit DEADLINE_EXCEEDED', () => {
  assert.deepEqual([503, 502, 504, 400, 403, 421, 431, 508, 500].map(grpcStatusOf), [14, 14, 4, 13, 7, 7, 8, 13, 2]);
});
