// A gateway's relay and its callers on one host, and services on others (arguments NAME ADDRESS PORT of each). Reads lines
// `open CALLER SERVICE`, `say CALLER TEXT`, `stuff CALLER`, `leave CALLER`, which ends it without a word of TLS; prints a line of JSON
// for all that becomes of a caller, and one when the gateway has another number of connections. Runs until killed.
import { createInterface } from 'node:readline';
import { connect, type TLSSocket } from 'node:tls';
import { startEastWest } from '@isthmus/dataplane';
import { resourceName, type ServiceView, type Snapshot, type SpiffeId, type TrustDomain } from '@isthmus/model';
import { anEndpoint, aServiceView } from '@isthmus/model/testing';
import { openMetrics, silentLog } from '@isthmus/telemetry';

const SPIFFE_ID = 'spiffe://east.acme.example/ns/shop/svc/payments' as SpiffeId;

function service(name: string, host: string, port: number): ServiceView {
  return aServiceView({ name, endpoints: [anEndpoint({ id: `east/${name}`, host, ports: { http: port }, spiffeId: SPIFFE_ID })] });
}

const views: ServiceView[] = [];
const args = process.argv.slice(2);
for (let i = 0; i + 2 < args.length; i += 3) views.push(service(args[i] ?? '', args[i + 1] ?? '', Number(args[i + 2])));
const snapshot: Snapshot = { version: 1, resources: new Map(views.map((view) => [resourceName(view), view])) };
const gateway = await startEastWest({
  listen: { host: '127.0.0.1', port: 0 },
  snapshots: { current: () => snapshot, onChange: () => () => undefined },
  trustDomain: 'east.acme.example' as TrustDomain,
  reserved: {},
  engine: 'linux',
  workers: 1,
  log: silentLog(),
  metrics: openMetrics(),
});

const callers = new Map<string, TLSSocket>();
const tell = (name: string, what: string): void => void process.stdout.write(`${JSON.stringify({ name, what })}\n`);

function open(name: string, service: string): void {
  const socket = connect({ host: '127.0.0.1', port: gateway.port, servername: `http.${service}.shop.svc.east.acme.example`, rejectUnauthorized: false });
  callers.set(name, socket);
  socket.once('secureConnect', () => tell(name, 'open'));
  socket.on('data', (chunk: Buffer) => tell(name, `heard ${chunk.toString()}`));
  socket.on('error', () => undefined).once('close', () => tell(name, 'closed'));
}

/** Until nothing more goes through: the endpoint does not read, its window is closed. */
function stuff(name: string): void {
  const socket = callers.get(name);
  const chunk = Buffer.alloc(65_536, 's');
  let stuckFor = 0;
  const push = setInterval(() => {
    if (socket?.writableNeedDrain !== true) {
      stuckFor = 0;
      while (socket?.destroyed === false && socket.write(chunk));
    } else if (++stuckFor === 10) {
      clearInterval(push);
      tell(name, 'stuffed');
    }
  }, 20);
}

let known = 0;
setInterval(() => {
  if (gateway.connections === known) return;
  known = gateway.connections;
  tell('gateway', `has ${known}`);
}, 100);

for await (const line of createInterface({ input: process.stdin })) {
  const [what = '', name = '', text = ''] = line.split(' ');
  if (what === 'open') open(name, text);
  else if (what === 'say') callers.get(name)?.write(text);
  else if (what === 'leave') callers.get(name)?.destroy();
  else stuff(name);
}
