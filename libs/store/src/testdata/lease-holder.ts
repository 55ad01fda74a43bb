// A process that holds a key by a lease and writes under it when told to; stopped and woken by lease.test.ts.
import { createInterface } from 'node:readline';
import { messageOf } from '@isthmus/model';
import { systemClock } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { openStore } from '../open-store.ts';

const store = await openStore({ endpoints: [process.argv[2] ?? ''], log: silentLog(), metrics: openMetrics(), clock: systemClock });
const lease = await store.lease(2000);
lease.onLost(() => process.stdout.write('lost\n'));
await store.put('held', 'x', { lease });
process.stdout.write('holding\n');
createInterface({ input: process.stdin }).on('line', () => {
  store.put('held', 'again', { lease }).then(
    () => process.stdout.write('written\n'),
    (error: unknown) => process.stdout.write(`refused ${(error as { code?: string }).code ?? messageOf(error)}\n`),
  );
}).on('close', () => void store.close());
