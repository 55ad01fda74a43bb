// Run in a network namespace of its own by few-ports.test.ts: a federation whose gateway runs out of local ports towards
// a workload. Prints what it saw as one line of JSON; the last word is the test's.
import { execFileSync } from 'node:child_process';
import { connect as connectTcp } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { names, smallTopology, startFederation, waitFor } from '@isthmus/harness';
import { metricsOf, readiness } from './gateway-process.ts';

const LOCAL_PORTS = 24;
const CALLERS = 60;
/** Below those the system gives out: nobody has it yet. */
const FIRST_CALLER_PORT = 20_000;
const SERVER_NAME = 'http.ledger.shop.svc.west.demo.isthmus.example';

type Caller = { readonly socket: TLSSocket; outcome: 'waiting' | 'led' | 'refused' };

/** A caller from a port of its own choice: only the gateway's side takes from the few. */
function call(port: number, localPort: number): Caller {
  const socket = connect({ socket: connectTcp({ host: '127.0.0.1', port, localPort }).on('error', () => undefined), servername: SERVER_NAME, rejectUnauthorized: false });
  const caller: Caller = { socket, outcome: 'waiting' };
  socket.on('error', () => undefined);
  socket.once('secureConnect', () => {
    caller.outcome = 'led';
  });
  socket.once('close', () => {
    if (caller.outcome === 'waiting') caller.outcome = 'refused';
  });
  return caller;
}

const mesh = await startFederation({ topology: smallTopology(['vm-1', 'east-1', 'west-2']) });
try {
  const gateway = names.gateway('west');
  const port = mesh.federation.port(gateway);
  // What is connected already holds ports of the wide range; from here on there are few.
  execFileSync('sysctl', ['-qw', `net.ipv4.ip_local_port_range=40000 ${40_000 + LOCAL_PORTS - 1}`]);
  const callers = Array.from({ length: CALLERS }, (_, i) => call(port, FIRST_CALLER_PORT + i));
  await waitFor('every caller to be led or refused', 30_000, () => (callers.every((c) => c.outcome !== 'waiting') ? true : undefined));
  const count = (outcome: Caller['outcome']): number => callers.filter((c) => c.outcome === outcome).length;
  const seen = { led: count('led'), refused: count('refused'), isRunning: mesh.supervisor.get(gateway).isRunning() };
  for (const { socket } of callers) socket.destroy();
  execFileSync('sysctl', ['-qw', 'net.ipv4.ip_local_port_range=32768 39999']);
  let next = FIRST_CALLER_PORT + CALLERS;
  await waitFor('a new caller to be led', 30_000, async () => {
    const caller = call(port, next++);
    await waitFor('led or refused', 10_000, () => (caller.outcome === 'waiting' ? undefined : true));
    caller.socket.destroy();
    return caller.outcome === 'led' ? true : undefined;
  }, 200);
  // Workers report their counts now and then.
  const connectFailures = await waitFor('the failures to be counted', 10_000, async () => {
    const count = Number(/^isthmus_gateway_connect_failures_total\{.*\} (\d+)$/m.exec(await metricsOf(mesh.federation, gateway))?.[1] ?? 0);
    return count >= seen.refused ? count : undefined;
  });
  process.stdout.write(`${JSON.stringify({ ...seen, connectFailures, readiness: await readiness(mesh.federation, gateway) })}\n`);
} finally {
  await mesh.close();
}
