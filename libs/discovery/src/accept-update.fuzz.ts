// Fuzz target: an update is taken as a whole or refused with a reason; the snapshot in force never changes under anybody.
import { EMPTY_SNAPSHOT, type Snapshot, snapshotProblems } from '@isthmus/model';
import { acceptUpdate } from './accept-update.ts';

const bundle = JSON.stringify({ kind: 'bundle', bundle: { trustDomain: 'east.acme.example', sequence: 1, refreshHintSeconds: 300, x509Authorities: ['MAA='] } });
const service = JSON.stringify({
  kind: 'service',
  namespace: 'shop',
  name: 'payments',
  ports: [{ name: 'http', port: 80, protocol: 'http' }],
  endpoints: [{ id: 'east/vm-1.p-1', cluster: 'east', trustDomain: 'east.acme.example', host: '10.0.0.1', ports: { http: 9_000 }, spiffeId: 'spiffe://east.acme.example/ns/shop/svc/payments', locality: '', weight: 100, health: 'healthy', tier: 0, viaGateway: false }],
  exported: true,
});

function accepted(): Snapshot {
  const first = acceptUpdate(EMPTY_SNAPSHOT, { full: true, version: 1, upserts: [Buffer.from(bundle), Buffer.from(service)], removals: [] });
  if (!first.ok) throw new Error(first.reason);
  return first.snapshot;
}

const inForce = accepted();
const before = JSON.stringify([...inForce.resources]);

/** An input is a flag, names to remove, and resources, a line each. */
export const target = {
  name: 'snapshot-update',
  seeds: [`d\n\n${bundle}\n${service}`, `f\n\n${bundle}`, 'd\nbundle/east.acme.example\n', `d\nservice/shop/payments\n${service}`, 'd\n\n{"kind":"newer"}'].map((text) => Buffer.from(text)),
  dictionary: ['\n', '"kind":', '"service"', 'bundle/', 'service/', '"__proto__":', '"endpoints":[', 'null', '"tier":', '"weight":0', ','],
  run(input: Buffer): void {
    const [flag = '', removals = '', ...upserts] = input.toString('latin1').split('\n');
    const answer = acceptUpdate(inForce, { full: flag === 'f', version: 2, upserts: upserts.map((text) => Buffer.from(text, 'latin1')), removals: removals.split(' ') });
    if (answer.ok && snapshotProblems(answer.snapshot).length > 0) throw new Error(`taken with problems: ${snapshotProblems(answer.snapshot).join('; ')}`);
    if (!answer.ok && answer.reason === '') throw new Error('refused without a reason');
    if (inForce.version !== 1 || inForce.resources.size !== 2) throw new Error('the snapshot in force changed');
    if (answer.ok && input.length % 64 === 0 && JSON.stringify([...inForce.resources]) !== before) throw new Error('a resource in force changed');
  },
};
