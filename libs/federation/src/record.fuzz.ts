// Fuzz target: what a peer writes is a record of that peer's own under the key it names, or refused with a reason.
import { keys } from '@isthmus/store';
import { readableKeys } from './digest.ts';
import { parseRecord, readRecord } from './record.ts';

const origin = { cluster: 'east', trustDomain: 'east.acme.example', consumer: 'west' };
const digest = { kind: 'digest', cluster: 'east', namespace: 'shop', name: 'payments', sequence: 2, ports: [{ name: 'http', port: 80, protocol: 'http' }], readyCount: 1, totalCount: 2, readyWeight: 100 };
const cluster = { kind: 'cluster', cluster: 'east', trustDomain: 'east.acme.example', locality: 'eu', gateways: ['192.0.2.1:15443'], sequence: 3 };

const ban = { kind: 'ban', id: '0123456789abcdef', cluster: 'east', trustDomain: 'east.acme.example', spiffeId: 'spiffe://east.acme.example/agent/a', issuedBeforeMs: 1, expiresAtMs: 2, bannedAtMs: 1, reason: '', lifted: false, sequence: 1 };

const recordKeys = [keys.sharedCluster(), keys.sharedBan(ban.id), ...readableKeys('west', digest)];

export const target = {
  name: 'peer-record',
  seeds: [digest, cluster, ban, { ...ban, spiffeId: 'spiffe://west.acme.example/agent/a' }, { ...digest, cluster: 'north' }, { ...digest, name: 'ledger' }].map((value) => Buffer.from(JSON.stringify(value))),
  dictionary: ['"cluster":', '"east"', '"west"', '"sequence":', '1e400', '-1', 'null', '"__proto__":', '"ports":[]', '"gateways":['],
  maxBytes: 2_048,
  run(input: Buffer): void {
    for (const key of recordKeys) {
      const read = parseRecord(key, input, origin);
      if (read.ok && read.record.value.cluster !== origin.cluster) throw new Error(`taken from another cluster: ${read.record.value.cluster}`);
      if (read.ok && read.record.kind === 'digest' && !readableKeys('west', read.record.value).includes(key)) throw new Error(`taken under ${key}`);
      if (read.ok && read.record.kind === 'ban' && !read.record.value.spiffeId.startsWith('spiffe://east.acme.example/')) throw new Error(`east bans ${read.record.value.spiffeId}`);
      if (!read.ok && read.reason === '') throw new Error('refused without a reason');
    }
    if (readRecord(keys.sharedCluster(), input, origin, { get: () => undefined } as never, 0).ok) throw new Error('taken without a signature');
  },
};
