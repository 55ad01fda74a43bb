// Fuzz target: any JSON is a good document of some kind or refused with bounded reasons; no prototype changes.
import { parseBundle, parseMember } from '../bundle.ts';
import { parseClusterRecord, parseDigest } from '../digest.ts';
import { formatProblems } from '../problem.ts';
import { applyDelta, EMPTY_SNAPSHOT, parseSnapshotResource, resourceName, snapshotProblems } from '../snapshot.ts';
import { parseExport } from './export.ts';
import { parseEntry, parseJoinToken } from './join-token.ts';
import { parseService } from './service.ts';
import { parseRegistration, parseWorkload } from './workload.ts';

const endpoint = { id: 'east/vm-1.payments-1', cluster: 'east', trustDomain: 'east.acme.example', host: '10.0.0.1', ports: { http: 9_000 }, spiffeId: 'spiffe://east.acme.example/ns/shop/svc/payments', locality: 'eu/de', weight: 100, health: 'healthy', tier: 0, viaGateway: false };
const ports = [{ name: 'http', port: 80, protocol: 'http' }];
const seeds = [
  { kind: 'service', namespace: 'shop', name: 'payments', ports, endpoints: [endpoint], exported: true },
  { kind: 'bundle', bundle: { trustDomain: 'east.acme.example', sequence: 1, refreshHintSeconds: 300, x509Authorities: ['MAA='] } },
  { kind: 'cluster', cluster: 'east', trustDomain: 'east.acme.example', state: 'fresh' },
  { kind: 'cluster', cluster: 'east', trustDomain: 'east.acme.example', locality: 'eu', gateways: ['192.0.2.1:15443'], sequence: 3 },
  { kind: 'digest', cluster: 'east', namespace: 'shop', name: 'payments', sequence: 2, ports, readyCount: 1, totalCount: 2, readyWeight: 100 },
  { kind: 'export', namespace: 'shop', name: 'payments', consumers: ['west'] },
  { kind: 'workload', namespace: 'shop', service: 'payments', instance: 'p-1', ports: { http: 8_080 }, healthCheck: { kind: 'http', path: '/healthz' } },
];

const parsers = [parseBundle, parseMember, parseClusterRecord, parseDigest, parseExport, parseEntry, parseJoinToken, parseService, parseRegistration, parseWorkload];
const MAX_REASON_CHARS = 20_000;

export const target = {
  name: 'documents',
  seeds: seeds.map((value) => Buffer.from(JSON.stringify(value))),
  dictionary: ['"__proto__":', '"constructor":', '"prototype":', 'null', 'true', '1e999', '-0', '[]', '{}', '[[[[', '"kind":', '"service"', '"endpoints":', '"ports":', '\\u0000', '65536', '9007199254740993'],
  run(input: Buffer): void {
    let json: unknown;
    try {
      json = JSON.parse(input.toString('utf8'));
    } catch {
      return;
    }
    for (const parse of parsers) {
      const parsed = parse(json);
      if (!parsed.ok && (parsed.problems.length === 0 || parsed.problems.length > 20 || formatProblems(parsed.problems).length > MAX_REASON_CHARS)) throw new Error(`${parsed.problems.length} reasons, ${formatProblems(parsed.problems).length} characters`);
    }
    const resource = parseSnapshotResource(json);
    if (resource.ok) {
      const snapshot = applyDelta(EMPTY_SNAPSHOT, { full: true, version: 1, upserts: [resource.value], removals: [] });
      if (!snapshot.resources.has(resourceName(resource.value))) throw new Error('the resource is not in its snapshot');
      snapshotProblems(snapshot);
    }
    if (Object.keys(Object.prototype).length > 0 || ({} as { kind?: unknown }).kind !== undefined) throw new Error('a prototype was changed');
  },
};
