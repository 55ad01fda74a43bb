// A real etcd against the same suite, so that the suite cannot drift from the truth.
import { conformance } from './conformance.ts';
import { noEtcd, startEtcd } from './real-etcd.ts';

conformance(
  'etcd',
  async () => {
    // A minimum lease of two seconds, as with etcd's default election timeout.
    const cluster = await startEtcd(1, ['--heartbeat-interval', '100', '--election-timeout', '1000']);
    return { endpoint: cluster.endpoints[0] ?? '', close: () => cluster.close() };
  },
  noEtcd,
);
