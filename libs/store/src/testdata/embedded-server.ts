// An embedded store in a process of its own, to be killed by file.test.ts; prints its port.
import { systemClock } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import { startEmbeddedStore } from '../embedded/server.ts';

const server = await startEmbeddedStore({ path: process.argv[2] ?? '', listen: { host: '127.0.0.1', port: 0 }, log: silentLog(), clock: systemClock });
process.stdout.write(`${server.port}\n`);
