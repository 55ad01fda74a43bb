// A thread of the data plane: one loop, the listeners the main thread asks for, nothing else.
import { parentPort, workerData } from 'node:worker_threads';
import { IsthmusError, messageOf } from '@isthmus/model';
import { systemRandom } from '@isthmus/runtime';
import { type CapturedListener, startCaptured } from '../proxy/captured.ts';
import { startGatewayHttp } from '../proxy/gateway-http.ts';
import { type InboundListener, startInbound } from '../proxy/inbound.ts';
import { type OutboundListener, startOutbound } from '../proxy/outbound.ts';
import { Loop } from '../transport/linux/loop.ts';
import { linuxTransport } from '../transport/linux/transport.ts';
import { followSnapshots } from './follow.ts';
import { gatewayTrust, inboundTrust } from './inbound-trust.ts';
import type { ErrorMessage, FromWorker, ToWorker, WorkerStart } from './messages.ts';
import { RelayedLog, RelayedMetrics } from './relayed-telemetry.ts';
import { Replica } from './replica.ts';
import { type InboundSpec, type OutboundSpec, portOf, protocolOf } from './spec.ts';

const HAND_OVER_MS = 250;

type Listener = Pick<InboundListener, 'host' | 'port' | 'connections' | 'close'>;

if (parentPort === null) throw new Error('proxy-worker.ts is started by the data plane as a worker thread');
const port = parentPort;
const start = workerData as WorkerStart;
const post = (message: FromWorker): void => port.postMessage(message);

const relayedLog = new RelayedLog(start.logLevel, post);
const log = relayedLog.log();
const metrics = new RelayedMetrics();
const loop = new Loop((error) => log.error('a handler of the data path failed', { detail: messageOf(error) }), { descriptors: start.descriptors, turnsInARow: 8 });
const transport = linuxTransport(loop);
const replica = new Replica();
const follower = followSnapshots(replica.snapshots);
const listeners = new Map<number, Listener>();
const captures = new Map<number, CapturedListener>();
const parts = { clock: loop.clock, random: systemRandom, log, metrics, transport };

function openInbound(spec: InboundSpec): Promise<InboundListener> {
  const { service, instance, application, port: portName } = spec;
  return startInbound({
    listen: spec.listen,
    workload: {
      service,
      instance,
      ...application,
      portName,
      get protocol() {
        return protocolOf(follower.engine(), service, portName, undefined);
      },
    },
    svids: replica.svids(spec.svids),
    ...inboundTrust(replica.bundles, replica.snapshots, service),
    onApplicationDown: (_workload, error) => post({ kind: 'application-down', service, instance, message: error.message }),
    ...parts,
  });
}

function openOutbound(spec: OutboundSpec): Promise<OutboundListener> {
  const { service } = spec;
  return startOutbound({
    listen: spec.listen,
    service,
    get port() {
      return portOf(follower.engine(), service, spec.port);
    },
    get protocol() {
      return protocolOf(follower.engine(), service, this.port, spec.protocol);
    },
    engine: () => follower.engine(),
    onEngine: (fn) => follower.onEngine(fn),
    svids: replica.svids(spec.svids),
    bundles: replica.bundles,
    ...parts,
  });
}

async function open<L extends Listener>(id: number, opening: Promise<L>, also?: Map<number, L>): Promise<void> {
  try {
    const listener = await opening;
    listeners.set(id, listener);
    also?.set(id, listener);
    post({ kind: 'opened', id, host: listener.host, port: listener.port });
  } catch (error) {
    post({ kind: 'failed', id, error: toMessage(error) });
  }
}

async function close(id: number, drainMs: number): Promise<void> {
  await listeners.get(id)?.close({ drainMs });
  listeners.delete(id);
  captures.delete(id);
  handOver();
  post({ kind: 'closed', id });
}

async function stop(): Promise<void> {
  await Promise.all([...listeners.values()].map((listener) => listener.close({ drainMs: 0 })));
  handingOver.cancel();
  handOver();
  follower.close();
  loop.close();
  port.close();
}

let told = '';
function handOver(): void {
  const connections = [...listeners].map(([id, listener]) => [id, listener.connections] as const);
  const changed = metrics.take();
  const now = connections.join();
  if (changed.length === 0 && now === told) return;
  told = now;
  post({ kind: 'status', connections, metrics: changed });
}

let handingOver = loop.setTimer(HAND_OVER_MS, tick);
let ticks = 0;
function tick(): void {
  handOver();
  if (++ticks % (1_000 / HAND_OVER_MS) === 0) relayedLog.tick();
  handingOver = loop.setTimer(HAND_OVER_MS, tick);
}

port.on('message', (message: ToWorker) => {
  switch (message.kind) {
    case 'gateway-http': {
      const { listen, trustDomain, svids } = message.spec;
      return void open(message.id, startGatewayHttp({ listen, trustDomain, engine: () => follower.engine(), onEngine: (fn) => follower.onEngine(fn), svids: replica.svids(svids), bundles: replica.bundles, callers: gatewayTrust(replica.bundles, replica.snapshots), ...parts }));
    }
    case 'inbound':
      return void open(message.id, openInbound(message.spec));
    case 'outbound':
      return void open(message.id, openOutbound(message.spec));
    case 'captured': {
      const { listen, addresses, svids } = message.spec;
      return void open(message.id, startCaptured({ listen, addresses, engine: () => follower.engine(), onEngine: (fn) => follower.onEngine(fn), svids: replica.svids(svids), bundles: replica.bundles, ...parts }), captures);
    }
    case 'captured-addresses':
      return captures.get(message.id)?.setAddresses(message.addresses, message.drainMs);
    case 'close':
      return void close(message.id, message.drainMs);
    case 'stop':
      return void stop();
    default:
      return replica.apply(message);
  }
});

function toMessage(error: unknown): ErrorMessage {
  if (error instanceof IsthmusError) return { code: error.code, class: error.class, message: error.message, hint: error.hint, facts: error.facts };
  return { code: 'DATAPLANE_LISTEN_FAILED', class: 'unavailable', message: messageOf(error), hint: undefined, facts: {} };
}

post({ kind: 'ready', wakeFd: loop.wakeFd });
