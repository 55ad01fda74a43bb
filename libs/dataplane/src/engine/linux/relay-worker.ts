// A thread of the Linux relay engine: one loop, one listening socket on the shared port, and all it accepts.
import { parentPort, workerData } from 'node:worker_threads';
import { IsthmusError, messageOf } from '@isthmus/model';
import { systemRandom } from '@isthmus/runtime';
import { Loop } from '../../transport/linux/loop.ts';
import { RelayedLog } from '../../worker/relayed-telemetry.ts';
import { Replica } from '../../worker/replica.ts';
import { LEDGER_PERIOD_MS } from '../ledger-report.ts';
import { Gateway } from './gateway.ts';
import type { FromRelayWorker, RelayWorkerStart, ToRelayWorker } from './messages.ts';

if (parentPort === null) throw new Error('relay-worker.ts is started by the relay engine as a worker thread');
/**
 * Nothing here waits for Node's own loop but messages, which wake it at once. A turn of it takes as long as two round trips,
 * and whoever speaks meanwhile waits for it.
 */
const TURNS_IN_A_ROW = 1_000;

const port = parentPort;
const { settings, logLevel, descriptors } = workerData as RelayWorkerStart;
const post = (message: FromRelayWorker): void => port.postMessage(message);

const relayedLog = new RelayedLog(logLevel, post);
const log = relayedLog.log();
const loop = new Loop((error) => log.error('a handler of the gateway failed', { detail: messageOf(error) }), { descriptors, turnsInARow: TURNS_IN_A_ROW, sleepsBetween: true });
const replica = new Replica();
const gateway = new Gateway({ loop, settings, snapshots: replica.snapshots, random: systemRandom, log });

let told = 0;
function handOver(): void {
  const delta = gateway.ledger.drain();
  if (delta !== undefined || gateway.connections !== told) post({ kind: 'counts', delta, connections: gateway.connections });
  told = gateway.connections;
}

function tick(): void {
  handOver();
  relayedLog.tick();
  ticking = loop.setTimer(LEDGER_PERIOD_MS, tick);
}
let ticking = loop.setTimer(LEDGER_PERIOD_MS, tick);

function listen({ port: portNumber, sharesPort }: Extract<ToRelayWorker, { readonly kind: 'listen' }>): void {
  try {
    const bound = gateway.listen(settings.listen.host, portNumber, sharesPort);
    post({ kind: 'listening', host: bound.host, port: bound.port });
  } catch (error) {
    const own = error instanceof IsthmusError ? error : undefined;
    post({ kind: 'failed', error: { code: own?.code ?? 'DATAPLANE_LISTEN_FAILED', class: own?.class ?? 'unavailable', message: messageOf(error), hint: own?.hint, facts: own?.facts ?? {} } });
  }
}

port.on('message', (message: ToRelayWorker) => {
  switch (message.kind) {
    case 'snapshot':
      return replica.apply(message);
    case 'listen':
      return listen(message);
    case 'drain':
      gateway.stopAccepting();
      return gateway.whenEmpty(() => {
        handOver();
        post({ kind: 'drained' });
      });
    case 'stop':
      gateway.close();
      ticking.cancel();
      handOver();
      loop.close();
      port.close();
  }
});

post({ kind: 'ready', wakeFd: loop.wakeFd });
