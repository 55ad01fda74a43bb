import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { decode, encode } from 'dns-packet';
import fc from 'fast-check';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { answerQuery } from './answer.ts';
import { startDns } from './server.ts';

const lookup = (name: string): string | undefined => (name === 'payments.shop.svc.clusterset.local' ? '127.64.0.1' : undefined);
const NAME = 'payments.shop.svc.clusterset.local';

function ask(name: string, type: 'A' | 'AAAA' = 'A') {
  const answered = answerQuery(encode({ type: 'query', id: 7, flags: 0x0100, questions: [{ name, type }] }), lookup, 0);
  assert.ok(answered.bytes);
  return { rcode: answered.rcode, packet: decode(answered.bytes) };
}

test('a mesh name has the address of its listener; the question is echoed as it came', () => {
  const { rcode, packet } = ask('PayMents.shop.svc.ClusterSet.local');
  assert.equal(rcode, 'NOERROR');
  assert.equal(packet.questions?.[0]?.name, 'PayMents.shop.svc.ClusterSet.local');
  const [answer] = packet.answers ?? [];
  assert.equal(answer?.type === 'A' && answer.data, '127.64.0.1');
  assert.equal(packet.id, 7);
});

test('another type of a known name is no data with SOA; an unknown name NXDOMAIN with SOA; another zone REFUSED', () => {
  const noData = ask(NAME, 'AAAA');
  assert.deepEqual([noData.rcode, noData.packet.answers?.length, noData.packet.authorities?.[0]?.type], ['NOERROR', 0, 'SOA']);
  const unknown = ask('other.shop.svc.clusterset.local');
  assert.deepEqual([unknown.rcode, unknown.packet.authorities?.[0]?.type], ['NXDOMAIN', 'SOA']);
  assert.equal(ask('example.com').rcode, 'REFUSED');
  assert.equal(ask('evilclusterset.local').rcode, 'REFUSED');
});

test('names above others are no data, so that what is below them may exist (RFC 8020)', () => {
  for (const name of ['clusterset.local', 'svc.clusterset.local', 'shop.svc.clusterset.local']) assert.equal(ask(name).rcode, 'NOERROR', name);
  assert.equal(ask('shop.clusterset.local').rcode, 'NXDOMAIN');
});

test('what is no query is not answered, and no bytes are an exception', () => {
  assert.equal(answerQuery(encode({ type: 'response', id: 1, questions: [] }), lookup, 0).bytes, undefined);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => typeof answerQuery(Buffer.from(bytes), lookup, 0).rcode === 'string'), { numRuns: 2_000 });
});

test('a question that cannot be echoed as it came is FORMERR without it', () => {
  const query = Buffer.from(encode({ type: 'query', id: 7, questions: [{ name: NAME, type: 'A' }] }));
  query[14] = 0xd0;
  const answered = answerQuery(query, lookup, 0);
  assert.equal(answered.rcode, 'FORMERR');
  assert.ok(answered.bytes);
  assert.deepEqual(decode(answered.bytes).questions, []);
});

test('a header that promises thousands of records is dropped before room is made for them', () => {
  const query = Buffer.from(encode({ type: 'query', id: 7, questions: [{ name: NAME, type: 'A' }] }));
  query.writeUInt16BE(65_535, 6);
  assert.equal(answerQuery(query, lookup, 0).rcode, 'dropped');
});

const hasDig = spawnSync('dig', ['-v']).error === undefined;

test('dig gets the address over UDP and TCP', { skip: hasDig ? false : 'dig is not installed (apt-get install dnsutils)' }, async () => {
  const dns = await startDns({ listen: { host: '127.0.0.1', port: 0 }, lookup, log: silentLog(), metrics: openMetrics() });
  try {
    const { execFile } = await import('node:child_process');
    const dig = (...args: string[]) =>
      new Promise<string>((resolve, reject) => execFile('dig', ['@127.0.0.1', '-p', String(dns.port), '+short', '+tries=1', ...args], (error, out) => (error ? reject(error) : resolve(out.trim()))));
    assert.equal(await dig(NAME), '127.64.0.1');
    assert.equal(await dig('+tcp', NAME), '127.64.0.1');
    assert.equal(await dig('other.shop.svc.clusterset.local'), '');
  } finally {
    await dns.close();
  }
});
