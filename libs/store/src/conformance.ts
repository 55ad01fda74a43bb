// One suite for both servers: the embedded store must answer as a real etcd does, word for word and number for number.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { openRaw, type RawClient, refusalOf } from './raw-client.ts';
import { etcd, type KeyValue, NO_BYTES, putRequest, rangeRequest, type RequestOp } from './wire.ts';

const { Compare_CompareResult: Result, Compare_CompareTarget: Target, RangeRequest_SortOrder: Order, RangeRequest_SortTarget: By } = etcd;
const FILTER = etcd.WatchCreateRequest_FilterType;

/** Runs the suite against a server that `start` brings up. */
export function conformance(name: string, start: () => Promise<{ readonly endpoint: string; close(): Promise<void> }>, skip?: string): void {
  describe(`${name} answers as etcd`, { ...(skip === undefined ? {} : { skip }) }, () => {
    let server: Awaited<ReturnType<typeof start>>;
    let raw: RawClient;
    before(async () => {
      server = await start();
      raw = openRaw(server.endpoint);
    });
    after(async () => {
      raw.close();
      await server.close();
    });
    reads(() => raw);
    writes(() => raw);
    transactions(() => raw);
    watches(() => raw);
    leases(() => raw);
    others(() => raw);
    compaction(() => raw);
  });
}

const keysOf = (kvs: readonly KeyValue[]): string[] => kvs.map((kv) => kv.key.toString('latin1'));
const numbers = (kv: KeyValue | undefined, base: bigint): bigint[] => (kv === undefined ? [] : [kv.createRevision - base, kv.modRevision - base, kv.version]);
const revisionOf = (response: { readonly header: etcd.ResponseHeader | undefined }): bigint => response.header?.revision ?? -1n;
const put = (key: string, value: string): RequestOp => ({ request: { $case: 'requestPut', value: putRequest({ key: Buffer.from(key), value: Buffer.from(value) }) } });
const get = (key: string, revision = 0n): RequestOp => ({ request: { $case: 'requestRange', value: rangeRequest({ key: Buffer.from(key), revision }) } });
const del = (key: string, end = ''): RequestOp => ({ request: { $case: 'requestDeleteRange', value: { key: Buffer.from(key), rangeEnd: Buffer.from(end), prevKv: false } } });
const nested = (txn: Partial<etcd.TxnRequest>): RequestOp => ({ request: { $case: 'requestTxn', value: { compare: [], success: [], failure: [], ...txn } } });
const compare = (key: string, target: etcd.Compare_CompareTarget, result: etcd.Compare_CompareResult, targetUnion: etcd.Compare['targetUnion'], end = ''): etcd.Compare => ({
  key: Buffer.from(key),
  rangeEnd: Buffer.from(end),
  target,
  result,
  targetUnion,
});

function reads(raw: () => RawClient): void {
  describe('reads', () => {
    let base = 0n;
    before(async () => {
      base = revisionOf(await raw().put('r/a', '3'));
      await raw().put('r/b', '2');
      await raw().put('r/c', '1');
      await raw().put('r/b', '4');
      await raw().put('r/\xff', 'last');
      await raw().put('r0', 'beside');
    });

    it('gives one key, or none, with the number of keys there are', async () => {
      const found = await raw().range('r/b');
      assert.deepEqual(found.kvs.map((kv) => [kv.value.toString(), ...numbers(kv, base)]), [['4', 1n, 3n, 2n]]);
      assert.equal(found.count, 1n);
      assert.equal(revisionOf(found), base + 5n);
      const none = await raw().range('r/none');
      assert.deepEqual([none.kvs, none.count, none.more], [[], 0n, false]);
    });

    it('gives a prefix in byte order, and nothing beside it', async () => {
      assert.deepEqual(keysOf((await raw().range('r/', { end: 'r0' })).kvs), ['r/a', 'r/b', 'r/c', 'r/\xff']);
      assert.deepEqual(keysOf((await raw().range('r/\xff', { end: 'r0' })).kvs), ['r/\xff']);
      assert.deepEqual(keysOf((await raw().range('r/b', { end: 'r/a' })).kvs), []);
    });

    it('takes a range end of one zero byte as "from here on", and both as everything', async () => {
      assert.deepEqual(keysOf((await raw().range('r/\xff', { end: '\0' })).kvs).slice(0, 2), ['r/\xff', 'r0']);
      const all = await raw().range('\0', { end: '\0', countOnly: true });
      assert.ok(all.count >= 5n);
      assert.deepEqual(all.kvs, []);
    });

    it('counts all keys while a limit cuts the list and says there is more', async () => {
      const page = await raw().range('r/', { end: 'r0', limit: 2n });
      assert.deepEqual([keysOf(page.kvs), page.count, page.more], [['r/a', 'r/b'], 4n, true]);
      const whole = await raw().range('r/', { end: 'r0', limit: 4n });
      assert.deepEqual([whole.kvs.length, whole.more], [4, false]);
    });

    const sorts: readonly [string, Partial<etcd.RangeRequest>, string[]][] = [
      ['by key, descending', { sortOrder: Order.DESCEND }, ['r/c', 'r/b', 'r/a']],
      ['by value, ascending', { sortOrder: Order.ASCEND, sortTarget: By.VALUE }, ['r/c', 'r/a', 'r/b']],
      ['by value without an order, which is ascending', { sortTarget: By.VALUE }, ['r/c', 'r/a', 'r/b']],
      ['by revision of the last change, descending', { sortOrder: Order.DESCEND, sortTarget: By.MOD }, ['r/b', 'r/c', 'r/a']],
      ['by creation, descending', { sortOrder: Order.DESCEND, sortTarget: By.CREATE }, ['r/c', 'r/b', 'r/a']],
      ['by version, descending, then cut', { sortOrder: Order.DESCEND, sortTarget: By.VERSION, limit: 1n }, ['r/b']],
      ['by value without an order but with a limit, which sorts what the limit left', { sortTarget: By.VALUE, limit: 1n }, ['r/a']],
    ];
    for (const [name, over, expected] of sorts) {
      it(`sorts ${name}`, async () => {
        assert.deepEqual(keysOf((await raw().range('r/a', { end: 'r/d', ...over })).kvs), expected);
      });
    }

    it('leaves values out when only keys are asked for', async () => {
      const { kvs } = await raw().range('r/a', { keysOnly: true });
      assert.deepEqual(kvs.map((kv) => [kv.value.length, ...numbers(kv, base)]), [[0, 0n, 0n, 1n]]);
    });

    it('filters by revision of creation and change, and still counts all', async () => {
      const young = await raw().range('r/a', { end: 'r/d', minModRevision: base + 2n });
      assert.deepEqual([keysOf(young.kvs), young.count], [['r/b', 'r/c'], 3n]);
      assert.deepEqual(keysOf((await raw().range('r/a', { end: 'r/d', maxModRevision: base + 2n })).kvs), ['r/a', 'r/c']);
      assert.deepEqual(keysOf((await raw().range('r/a', { end: 'r/d', minCreateRevision: base + 1n, maxCreateRevision: base + 1n })).kvs), ['r/b']);
    });

    it('reads the past at a revision, and refuses the future', async () => {
      const past = await raw().range('r/a', { end: 'r/d', revision: base + 1n });
      assert.deepEqual(past.kvs.map((kv) => kv.value.toString()), ['3', '2']);
      assert.equal(past.count, 2n);
      assert.equal(revisionOf(past), base + 5n, 'the header has the newest revision');
      assert.equal(await refusalOf(raw().range('r/a', { revision: base + 1000n })), '11 etcdserver: mvcc: required revision is a future revision');
    });

    it('refuses a read without a key', async () => {
      assert.equal(await refusalOf(raw().range('')), '3 etcdserver: key is not provided');
    });
  });
}

function writes(raw: () => RawClient): void {
  describe('writes', () => {
    it('number a key from its creation, and anew after it was deleted', async () => {
      const base = revisionOf(await raw().put('w/n', '1'));
      await raw().put('w/n', '2');
      assert.deepEqual(numbers((await raw().range('w/n')).kvs[0], base), [0n, 1n, 2n]);
      assert.equal(revisionOf(await raw().del('w/n')), base + 2n);
      await raw().put('w/n', '3');
      assert.deepEqual(numbers((await raw().range('w/n')).kvs[0], base), [3n, 3n, 1n]);
      assert.deepEqual((await raw().range('w/n', { revision: base + 2n })).kvs, []);
    });

    it('give back what was there before, when asked', async () => {
      await raw().put('w/p', 'old');
      assert.equal((await raw().put('w/p', 'new', { prevKv: true })).prevKv?.value.toString(), 'old');
      assert.equal((await raw().put('w/p2', 'new', { prevKv: true })).prevKv, undefined);
      const gone = await raw().del('w/p', 'w/q', true);
      assert.deepEqual([gone.deleted, keysOf(gone.prevKvs)], [2n, ['w/p', 'w/p2']]);
    });

    it('use up no revision when nothing is deleted', async () => {
      const base = revisionOf(await raw().put('w/x', ''));
      const none = await raw().del('w/none');
      assert.deepEqual([none.deleted, revisionOf(none)], [0n, base]);
    });

    it('can leave the value or the lease as it is', async () => {
      const { ID } = await raw().grant(60n);
      await raw().put('w/keep', 'v', { lease: ID });
      await raw().put('w/keep', 'v2', { ignoreLease: true });
      await raw().put('w/keep', '', { ignoreValue: true, lease: ID });
      const [kv] = (await raw().range('w/keep')).kvs;
      assert.deepEqual([kv?.value.toString(), kv?.lease, kv?.version], ['v2', ID, 3n]);
      assert.equal(await refusalOf(raw().put('w/keep', 'x', { ignoreValue: true })), '3 etcdserver: value is provided');
      assert.equal(await refusalOf(raw().put('w/keep', 'x', { ignoreLease: true, lease: ID })), '3 etcdserver: lease is provided');
      assert.equal(await refusalOf(raw().put('w/absent', '', { ignoreValue: true })), '3 etcdserver: key not found');
      await raw().revoke(ID);
    });

    it('refuse an empty key, a lease that is not there, and a request over 1.5 MiB', async () => {
      assert.equal(await refusalOf(raw().put('', 'x')), '3 etcdserver: key is not provided');
      assert.equal(await refusalOf(raw().del('')), '3 etcdserver: key is not provided');
      assert.equal(await refusalOf(raw().put('w/l', 'x', { lease: 12345n })), '5 etcdserver: requested lease not found');
      assert.equal(await refusalOf(raw().put('w/big', 'x'.repeat(1.5 * 1024 * 1024))), '3 etcdserver: request is too large');
      assert.deepEqual((await raw().range('w/big')).kvs, []);
    });

    it('keep values that are not text', async () => {
      const value = Buffer.from([0, 255, 128, 10]);
      await raw().put('w/bytes', '', { value });
      assert.deepEqual((await raw().range('w/bytes')).kvs[0]?.value, value);
    });
  });
}

function transactions(raw: () => RawClient): void {
  describe('transactions', () => {
    let base = 0n;
    before(async () => {
      base = revisionOf(await raw().put('t/a', 'one'));
      await raw().put('t/b', 'two');
    });

    const v = (value: bigint) => ({ $case: 'version', value }) as const;
    const cases: readonly [string, () => etcd.Compare, boolean][] = [
      ['version equal', () => compare('t/a', Target.VERSION, Result.EQUAL, v(1n)), true],
      ['version of a missing key is 0', () => compare('t/none', Target.VERSION, Result.EQUAL, v(0n)), true],
      ['create greater than 0 for a key that is there', () => compare('t/a', Target.CREATE, Result.GREATER, { $case: 'createRevision', value: 0n }), true],
      ['create greater than 0 for one that is not', () => compare('t/none', Target.CREATE, Result.GREATER, { $case: 'createRevision', value: 0n }), false],
      ['mod equal', () => compare('t/a', Target.MOD, Result.EQUAL, { $case: 'modRevision', value: base }), true],
      ['mod not equal', () => compare('t/a', Target.MOD, Result.NOT_EQUAL, { $case: 'modRevision', value: base }), false],
      ['mod less', () => compare('t/a', Target.MOD, Result.LESS, { $case: 'modRevision', value: base + 1n }), true],
      ['value equal', () => compare('t/a', Target.VALUE, Result.EQUAL, { $case: 'value', value: Buffer.from('one') }), true],
      ['value less', () => compare('t/a', Target.VALUE, Result.LESS, { $case: 'value', value: Buffer.from('one1') }), true],
      ['value of a missing key equals nothing, not even the empty one', () => compare('t/none', Target.VALUE, Result.EQUAL, { $case: 'value', value: NO_BYTES }), false],
      ['value of a missing key is not unequal either', () => compare('t/none', Target.VALUE, Result.NOT_EQUAL, { $case: 'value', value: Buffer.from('x') }), false],
      ['lease equal 0', () => compare('t/a', Target.LEASE, Result.EQUAL, { $case: 'lease', value: 0n }), true],
      ['a range: all keys', () => compare('t/a', Target.VERSION, Result.EQUAL, v(1n), 't/c'), true],
      ['a range: one key differs', () => compare('t/a', Target.VALUE, Result.EQUAL, { $case: 'value', value: Buffer.from('one') }, 't/c'), false],
      ['an empty range, by version', () => compare('t/y', Target.VERSION, Result.EQUAL, v(0n), 't/z'), true],
    ];
    for (const [name, make, expected] of cases) {
      it(`compare ${name}: ${expected}`, async () => {
        const response = await raw().txn({ compare: [make()], success: [get('t/a')], failure: [get('t/b')] });
        assert.equal(response.succeeded, expected);
        const [first] = response.responses;
        assert.ok(first?.response?.$case === 'responseRange');
        assert.deepEqual(keysOf(first.response.value.kvs), [expected ? 't/a' : 't/b']);
      });
    }

    it('make all changes at one revision, in order, and see their own', async () => {
      const before = revisionOf(await raw().range('t/a'));
      const response = await raw().txn({ success: [put('t/m1', 'x'), get('t/m1'), put('t/m2', 'y'), del('t/b')] });
      assert.equal(revisionOf(response), before + 1n);
      const seen = response.responses[1]?.response;
      assert.ok(seen?.$case === 'responseRange');
      assert.equal(seen.value.kvs[0]?.value.toString(), 'x');
      const { kvs } = await raw().range('t/m', { end: 't/n' });
      assert.deepEqual(kvs.map((kv) => kv.modRevision - before), [1n, 1n]);
    });

    it('use up no revision when they only read, or when the branch is empty', async () => {
      const before = revisionOf(await raw().range('t/a'));
      assert.equal(revisionOf(await raw().txn({ success: [get('t/a')] })), before);
      const empty = await raw().txn({ compare: [compare('t/a', Target.VERSION, Result.EQUAL, v(99n))], success: [put('t/a', 'no')] });
      assert.deepEqual([empty.succeeded, empty.responses.length, revisionOf(empty)], [false, 0, before]);
    });

    it('nest, and judge every compare by the state before the first write', async () => {
      const isAbsent = compare('t/nest', Target.VERSION, Result.EQUAL, v(0n));
      const response = await raw().txn({ success: [put('t/nest', 'outer'), nested({ compare: [isAbsent], success: [put('t/nest-yes', '')], failure: [put('t/nest-no', '')] })] });
      assert.equal(response.responses[1]?.response?.$case, 'responseTxn');
      assert.deepEqual(keysOf((await raw().range('t/nest', { end: 't/nesu' })).kvs), ['t/nest', 't/nest-yes']);
    });

    it('refuse to change a key twice, to put into what they delete, and more than 128 operations', async () => {
      const duplicate = '3 etcdserver: duplicate key given in txn request';
      assert.equal(await refusalOf(raw().txn({ success: [put('t/d', '1'), put('t/d', '2')] })), duplicate);
      assert.equal(await refusalOf(raw().txn({ success: [del('t/', 't0'), put('t/d', '2')] })), duplicate);
      assert.equal(await refusalOf(raw().txn({ success: [put('t/d', '1'), nested({ failure: [put('t/d', '2')] })] })), duplicate);
      assert.equal(await refusalOf(raw().txn({ failure: [put('t/d', '1'), put('t/d', '2')] })), duplicate);
      const both = await raw().txn({ success: [nested({ success: [put('t/e', '1')], failure: [put('t/e', '2')] })] });
      assert.equal(both.succeeded, true, 'the two branches of one transaction may put the same key');
      const many = Array.from({ length: 129 }, (_, i) => get(`t/${i}`));
      assert.equal(await refusalOf(raw().txn({ success: many })), '3 etcdserver: too many operations in txn request');
      assert.equal((await raw().txn({ success: many.slice(1) })).responses.length, 128);
    });

    it('refuse a bad operation wherever it stands, and then change nothing', async () => {
      const before = revisionOf(await raw().range('t/a'));
      assert.equal(await refusalOf(raw().txn({ success: [put('t/f', '1')], failure: [put('', '2')] })), '3 etcdserver: key is not provided');
      assert.equal(await refusalOf(raw().txn({ compare: [compare('', Target.VERSION, Result.EQUAL, v(0n))] })), '3 etcdserver: key is not provided');
      assert.equal(await refusalOf(raw().txn({ success: [{ request: undefined }] })), '3 etcdserver: key not found');
      assert.equal(await refusalOf(raw().txn({ success: [put('t/f', '1'), get('t/a', before + 50n)] })), '11 etcdserver: mvcc: required revision is a future revision');
      const leased: RequestOp = { request: { $case: 'requestPut', value: putRequest({ key: Buffer.from('t/g'), lease: 777n }) } };
      assert.equal(await refusalOf(raw().txn({ success: [put('t/f', '1'), leased] })), '5 etcdserver: requested lease not found');
      assert.equal(revisionOf(await raw().range('t/f')), before);
    });
  });
}

function watches(raw: () => RawClient): void {
  describe('watches', () => {
    it('tell creation, then each change of their range alone, with the numbers of the key', async () => {
      const watch = raw().watch();
      watch.create('v/', { end: 'v0' });
      await watch.until('creation', () => watch.responses.length === 1);
      assert.deepEqual([watch.responses[0]?.created, watch.responses[0]?.watchId, watch.responses[0]?.events], [true, 0n, []]);
      const base = revisionOf(await raw().put('v/a', '1'));
      await raw().put('v0', 'beside');
      await raw().put('v/a', '2');
      await raw().del('v/a');
      await watch.until('three events', () => watch.events().length === 3);
      assert.deepEqual(watch.events(), [`P v/a 1@${base}`, `P v/a 2@${base + 2n}`, `D v/a@${base + 3n}`]);
      const deleted = watch.responses.at(-1)?.events[0]?.kv;
      assert.deepEqual([deleted?.createRevision, deleted?.version, deleted?.value.length], [0n, 0n, 0]);
      assert.equal(watch.responses.at(-1)?.header?.revision, base + 3n);
      watch.close();
    });

    it('start in the past, and give a transaction as one response in its order', async () => {
      const base = revisionOf(await raw().put('h/a', '1'));
      await raw().txn({ success: [put('h/c', '3'), put('h/b', '2')] });
      await raw().del('h/', 'h0');
      const watch = raw().watch();
      watch.create('h/', { end: 'h0', startRevision: base + 1n });
      await watch.until('five events', () => watch.events().length === 5);
      assert.deepEqual(watch.events(), [`P h/c 3@${base + 1n}`, `P h/b 2@${base + 1n}`, `D h/a@${base + 2n}`, `D h/b@${base + 2n}`, `D h/c@${base + 2n}`]);
      watch.close();
    });

    it('start in the future, and are silent until then', async () => {
      const base = revisionOf(await raw().put('f/a', '0'));
      const watch = raw().watch();
      watch.create('f/a', { startRevision: base + 2n });
      await watch.until('creation', () => watch.responses.length === 1);
      await raw().put('f/a', '1');
      await raw().put('f/a', '2');
      await watch.until('an event', () => watch.events().length > 0);
      assert.deepEqual(watch.events(), [`P f/a 2@${base + 2n}`]);
      watch.close();
    });

    it('leave out what is filtered, and give the value before when asked', async () => {
      const watch = raw().watch();
      watch.create('l/', { end: 'l0', filters: [FILTER.NOPUT], prevKv: true, watchId: 7n });
      watch.create('l/', { end: 'l0', filters: [FILTER.NODELETE], watchId: 8n });
      await watch.until('two creations', () => watch.responses.length === 2);
      const base = revisionOf(await raw().put('l/a', 'was'));
      await raw().del('l/a');
      await watch.until('both', () => watch.events().length === 2);
      assert.deepEqual([watch.events(7n), watch.events(8n)], [[`D l/a@${base + 1n}`], [`P l/a was@${base}`]]);
      assert.equal(watch.responses.find((r) => r.watchId === 7n && r.events.length > 0)?.events[0]?.prevKv?.value.toString(), 'was');
      watch.close();
    });

    it('are many on one stream, with numbers of their own, and end one by one', async () => {
      const watch = raw().watch();
      watch.create('m/a');
      await watch.until('first', () => watch.responses.length === 1);
      watch.create('m/b', { watchId: 42n });
      await watch.until('second', () => watch.responses.length === 2);
      watch.create('m/c', { watchId: 42n });
      await watch.until('refusal', () => watch.responses.length === 3);
      const refused = watch.responses[2];
      assert.deepEqual([refused?.created, refused?.canceled, refused?.watchId], [true, true, -1n]);
      watch.cancel(0n);
      await watch.until('the end of the first', () => watch.responses.length === 4);
      assert.deepEqual([watch.responses[3]?.canceled, watch.responses[3]?.watchId, watch.responses[3]?.created], [true, 0n, false]);
      await raw().put('m/a', 'x');
      await raw().put('m/b', 'y');
      await watch.until('an event', () => watch.events().length > 0);
      assert.deepEqual(watch.responses.slice(4).map((r) => r.watchId), [42n]);
      watch.close();
    });

    it('refuse an empty range', async () => {
      const watch = raw().watch();
      watch.create('e/b', { end: 'e/a' });
      await watch.until('refusal', () => watch.responses.length === 1);
      assert.deepEqual([watch.responses[0]?.created, watch.responses[0]?.canceled, watch.responses[0]?.watchId], [true, true, -1n]);
      watch.close();
    });

    it('report their progress when asked', async () => {
      const watch = raw().watch();
      watch.create('p/');
      await watch.until('creation', () => watch.responses.length === 1);
      const base = revisionOf(await raw().put('q/other', 'x'));
      watch.progress();
      await watch.until('a report', () => watch.responses.length === 2);
      assert.deepEqual([watch.responses[1]?.watchId, watch.responses[1]?.events.length, watch.responses[1]?.header?.revision], [-1n, 0, base]);
      watch.close();
    });

    it('cut a revision too large for one message into fragments, when allowed to', async () => {
      const watch = raw().watch();
      const value = 'x'.repeat(600_000);
      const base = revisionOf(await raw().put('g/0', value));
      for (const i of [1, 2, 3, 4]) await raw().put(`g/${i}`, value);
      watch.create('g/', { end: 'g0', startRevision: base, fragment: true });
      await watch.until('five events', () => watch.events().length === 5);
      assert.ok(watch.responses.every((r) => r.events.length < 5), 'no message has them all');
      watch.close();
    });

    it('tell everything to a reader that does not read for a while', async () => {
      const watch = raw().watch();
      const first = revisionOf(await raw().put('s/0', ''));
      await Promise.all(Array.from({ length: 2500 }, (_, i) => raw().put(`s/${i % 50}`, String(i))));
      watch.create('s/', { end: 's0', startRevision: first });
      await watch.until('all events', () => watch.events().length === 2501);
      const revisions = watch.responses.flatMap((r) => r.events).map((e) => e.kv?.modRevision ?? 0n);
      assert.deepEqual(revisions, Array.from({ length: 2501 }, (_, i) => first + BigInt(i)));
      watch.close();
    });
  });
}

function leases(raw: () => RawClient): void {
  describe('leases', () => {
    it('have the number asked for or one of their own, and at least two seconds', async () => {
      const own = await raw().grant(60n);
      assert.ok(own.ID > 0n);
      assert.deepEqual(await raw().grant(1n, 4711n).then(({ ID, TTL }) => [ID, TTL]), [4711n, 2n]);
      assert.equal(await refusalOf(raw().grant(5n, 4711n)), '9 etcdserver: lease already exists');
      assert.equal(await refusalOf(raw().grant(9_000_000_001n)), '11 etcdserver: too large lease TTL');
      const listed = (await raw().leases()).leases.map(({ ID }) => ID);
      assert.ok(listed.includes(own.ID) && listed.includes(4711n));
      await raw().revoke(own.ID);
      await raw().revoke(4711n);
    });

    it('take all their keys along at one revision when revoked, but not keys given to another', async () => {
      const { ID } = await raw().grant(60n);
      const other = await raw().grant(60n);
      for (const key of ['k/b', 'k/a', 'k/moved', 'k/freed']) await raw().put(key, '', { lease: ID });
      await raw().put('k/moved', '', { lease: other.ID });
      const last = revisionOf(await raw().put('k/freed', ''));
      assert.deepEqual((await raw().timeToLive(ID)).keys.map(String).sort(), ['k/a', 'k/b']);
      assert.equal(revisionOf(await raw().revoke(ID)), last + 1n);
      assert.deepEqual(keysOf((await raw().range('k/', { end: 'k0' })).kvs), ['k/freed', 'k/moved']);
      assert.equal(await refusalOf(raw().revoke(ID)), '5 etcdserver: requested lease not found');
      await raw().revoke(other.ID);
    });

    it('are kept alive, tell what is left of them, and say so when they are gone', async () => {
      const { ID } = await raw().grant(60n);
      assert.deepEqual(await raw().keepAlive(ID).then((r) => [r.ID, r.TTL]), [ID, 60n]);
      const left = await raw().timeToLive(ID);
      assert.ok(left.TTL >= 58n && left.TTL <= 60n && left.grantedTTL === 60n);
      await raw().revoke(ID);
      assert.equal((await raw().keepAlive(ID)).TTL, 0n);
      assert.equal((await raw().timeToLive(ID)).TTL, -1n);
    });

    it('run out, and a watch sees their keys go at one revision in order', async () => {
      const watch = raw().watch();
      watch.create('x/', { end: 'x0' });
      await watch.until('creation', () => watch.responses.length === 1);
      const { ID } = await raw().grant(2n);
      await raw().put('x/b', '', { lease: ID });
      const last = revisionOf(await raw().put('x/a', '', { lease: ID }));
      await watch.until('the end of the keys', () => watch.events().length === 4);
      assert.deepEqual(watch.events().slice(2), [`D x/a@${last + 1n}`, `D x/b@${last + 1n}`]);
      assert.equal((await raw().timeToLive(ID)).TTL, -1n);
      watch.close();
    });
  });
}

function others(raw: () => RawClient): void {
  it('tells its status, with itself as leader', async () => {
    const status = await raw().status();
    assert.equal(status.leader, status.header?.memberId);
    assert.ok(status.dbSize > 0n && status.version !== '');
  });

  it('refuses passwords, as authentication is by certificate', async () => {
    assert.equal(await refusalOf(raw().authenticate()), '9 etcdserver: authentication is not enabled');
  });
}

function compaction(raw: () => RawClient): void {
  describe('compaction', () => {
    it('forgets the past up to a revision, keeps that revision readable, and refuses what it forgot', async () => {
      const compacted = '11 etcdserver: mvcc: required revision has been compacted';
      const base = revisionOf(await raw().put('c/a', '1'));
      await raw().put('c/a', '2');
      await raw().put('c/b', '1');
      await raw().del('c/b');
      await raw().put('c/a', '3');
      await raw().compact(base + 2n);
      assert.equal(await refusalOf(raw().range('c/a', { revision: base + 1n })), compacted);
      const kept = await raw().range('c/', { end: 'c0', revision: base + 2n });
      assert.deepEqual(kept.kvs.map((kv) => `${kv.key}=${kv.value}`), ['c/a=2', 'c/b=1']);
      assert.deepEqual(numbers((await raw().range('c/a')).kvs[0], base), [0n, 4n, 3n], 'numbers survive');
      assert.equal(await refusalOf(raw().compact(base + 2n)), compacted);
      assert.equal(await refusalOf(raw().compact(base + 1000n)), '11 etcdserver: mvcc: required revision is a future revision');
      assert.equal(await refusalOf(raw().txn({ success: [get('c/a', base)] })), compacted);
    });

    it('ends a watch that asks for what is forgotten, and says from where one may', async () => {
      const base = revisionOf(await raw().put('c/w', '1'));
      await raw().put('c/w', '2');
      await raw().put('c/w', '3');
      await raw().compact(base + 2n);
      const watch = raw().watch();
      watch.create('c/w', { startRevision: base });
      await watch.until('the end', () => watch.responses.some((r) => r.canceled));
      const last = watch.responses.at(-1);
      assert.deepEqual([watch.responses[0]?.created, last?.canceled, last?.compactRevision, watch.events()], [true, true, base + 2n, []]);
      watch.create('c/w', { startRevision: base + 2n, watchId: 5n });
      await watch.until('the event that is left', () => watch.events().length === 1);
      assert.deepEqual(watch.events(), [`P c/w 3@${base + 2n}`]);
      watch.close();
    });
  });
}
