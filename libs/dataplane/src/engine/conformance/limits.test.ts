import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { freePort, freePorts } from '@isthmus/runtime';
import { Backend, endpointAt, HELLO, onEachEngine, until, viewsOf, withRig } from './rig.ts';

const SERVICE = 'service="shop/payments"';
const endLine = (end: string, count = 1): string => `isthmus_gateway_connections_total{${SERVICE},end="${end}"} ${count}`;
/** The first endpoint listed is picked first. */
const first = (): number => 0;
/** Weights that make one endpoint the first choice almost always, whatever chance says. */
const OFTEN = 1_000_000;

/** `connected`, or the code of the error. The connection is closed again. */
function connecting(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve('connected')).once('error', (error: NodeJS.ErrnoException) => resolve(error.code)).once('connect', () => socket.destroy());
  });
}

/** A port whose listener takes no more connections and says nothing: a stopped process with a full queue. */
async function withBlackHole(use: (port: number) => Promise<void>): Promise<void> {
  const child = spawn(process.execPath, ['-e', "const s=require('net').createServer();s.listen({port:0,host:'127.0.0.1',backlog:1},()=>console.log(s.address().port))"]);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const port = Number(line.toString());
  child.kill('SIGSTOP');
  const fillers: Socket[] = [];
  try {
    // The queue is full when one of several stays unanswered; the kernel answers the others at once.
    while (fillers.filter((s) => s.connecting).length < 2) {
      fillers.push(connect(port, '127.0.0.1').on('error', () => undefined));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await use(port);
  } finally {
    for (const socket of fillers) socket.destroy();
    child.kill('SIGKILL');
  }
}

onEachEngine('a dead endpoint is passed over, nothing having been sent yet, and counted', async (engine) => {
  const dead = await freePort();
  await withRig(engine, { endpoints: (port) => [endpointAt(dead, { weight: OFTEN }), endpointAt(port, { weight: 1 })] }, async (rig) => {
    await rig.open();
    await rig.closesWith(`isthmus_gateway_connect_failures_total{${SERVICE}} 1`);
  });
});

onEachEngine('an endpoint that does not answer is given up after the connect limit, and the next one tried', (engine) =>
  withBlackHole((hole) =>
    withRig(engine, { endpoints: (port) => [endpointAt(hole, { weight: OFTEN }), endpointAt(port, { weight: 1 })], over: { limits: { connectMs: 200 } } }, async (rig) => {
      await rig.open();
      await rig.closesWith(`isthmus_gateway_connect_failures_total{${SERVICE}} 1`);
    }),
  ));

onEachEngine('with every attempt failed the caller is reset and the end is unreachable', async (engine) => {
  const dead = await freePorts(3);
  await withRig(engine, { endpoints: () => dead.map((port) => endpointAt(port)), over: { limits: { attempts: 2 } } }, async (rig) => {
    const client = await rig.connect();
    await client.write(HELLO);
    assert.equal(await client.closed(), 'ECONNRESET');
    await rig.closesWith(endLine('unreachable'), `isthmus_gateway_connect_failures_total{${SERVICE}} 2`);
  });
});

onEachEngine('an endpoint that fails again and again is left alone for a while', async (engine) => {
  const dead = await freePort();
  const baseline = 30;
  await withRig(engine, { endpoints: (port) => [endpointAt(dead, { weight: OFTEN }), endpointAt(port, { weight: 1 })] }, async (rig) => {
    for (let i = 0; i < baseline; i++) {
      const { client, server } = await rig.open();
      client.socket.destroy();
      server.socket.destroy();
    }
    await rig.relay.close();
    const failures = Number(/connect_failures_total\{[^}]*\} (\d+)/.exec(await rig.metrics.text())?.[1]);
    assert.ok(failures >= 3 && failures < baseline / 2, `${failures} of ${baseline} connections tried it`);
  });
});

onEachEngine('an ejected endpoint is tried nevertheless when it is the only one', async (engine) => {
  const dead = await freePort();
  await withRig(engine, { endpoints: () => [endpointAt(dead)] }, async (rig) => {
    for (let i = 0; i < 5; i++) {
      const client = await rig.connect();
      await client.write(HELLO);
      await client.closed();
    }
    const revived = createServer((socket) => socket.end('back')).listen(dead, '127.0.0.1');
    await once(revived, 'listening');
    const client = await rig.connect();
    await client.write(HELLO);
    await client.hasReceived(4);
    revived.close();
  });
});

onEachEngine('connections past the limit are refused, and taken again when one is over', (engine) =>
  withRig(engine, { over: { limits: { connections: 2 } } }, async (rig) => {
    const one = await rig.open();
    await rig.open();
    const refused = await rig.connect();
    await refused.isLetGo();
    one.client.socket.destroy();
    one.server.socket.destroy();
    await until('room', () => rig.relay.connections < 2);
    await rig.open();
    await rig.closesWith('isthmus_gateway_refused_total{reason="too-many-connections"} 1');
  }));

onEachEngine('an endpoint gets no more connections than its limit; the next goes elsewhere, and past all limits it is overloaded', async (engine) => {
  const second = await new Backend().listen();
  const endpoints = (port: number) => [endpointAt(port, { weight: OFTEN }), endpointAt(second.port, { weight: 1 })];
  await withRig(engine, { endpoints, over: { limits: { endpointConnections: 1 }, random: first } }, async (rig) => {
    const { client, server } = await rig.open();
    const elsewhere = await rig.connect();
    await elsewhere.write(HELLO);
    await (await second.peer()).hasReceived(HELLO.length);
    const tooMany = await rig.connect();
    await tooMany.write(HELLO);
    assert.equal(await tooMany.closed(), 'ECONNRESET');
    client.socket.end();
    server.socket.end();
    await until('room', () => rig.relay.connections === 1);
    await rig.open();
    await rig.closesWith(endLine('overloaded'));
  });
  second.close();
});

onEachEngine('unfinished hellos past their limit are refused, whole ones are served again when one has gone', (engine) =>
  withRig(engine, { over: { limits: { hellos: 2 } } }, async (rig) => {
    const slow = [await rig.connect(), await rig.connect()];
    for (const client of slow) await client.write(HELLO.subarray(0, 9));
    await until('both', () => rig.relay.connections === 2);
    const refused = await rig.connect();
    await refused.isLetGo();
    slow[0]?.socket.destroy();
    await until('room', () => rig.relay.connections === 1);
    await rig.open();
    await rig.closesWith('isthmus_gateway_refused_total{reason="too-many-hellos"} 1');
  }));

onEachEngine('connections to an endpoint that left the snapshot may finish, are reset after their limit, and no new ones go there', async (engine) => {
  const second = await new Backend().listen();
  await withRig(engine, { endpoints: (port) => [endpointAt(port)], over: { limits: { departedMs: 400 } } }, async (rig) => {
    const finishing = await rig.open();
    const staying = await rig.open();
    rig.snapshots.set(...viewsOf([endpointAt(second.port)]));
    await finishing.server.write('last words');
    await finishing.client.hasReceived(10);
    finishing.client.socket.end();
    finishing.server.socket.end();
    await finishing.client.isEnded();
    const next = await rig.connect();
    await next.write(HELLO);
    await (await second.peer()).hasReceived(HELLO.length);
    assert.equal(await staying.client.closed(), 'ECONNRESET');
    assert.equal(await staying.server.closed(), 'ECONNRESET');
    assert.equal(next.socket.closed, false);
    await until('the relay lets go', () => rig.relay.connections === 1);
    await rig.closesWith(endLine('complete'), endLine('drained', 2)); // the other one when the relay closed
  });
  second.close();
});

onEachEngine('connections to an endpoint that comes back in time, or of a service that changed otherwise, go on', (engine) =>
  withRig(engine, { over: { limits: { departedMs: 300 } } }, async (rig) => {
    const { client, server } = await rig.open();
    const leaving = await new Backend().listen();
    rig.snapshots.set(...viewsOf([endpointAt(leaving.port)]));
    rig.snapshots.set(...viewsOf([endpointAt(rig.backend.port), endpointAt(leaving.port)]));
    const other = await rig.connect();
    await other.write(HELLO);
    await until('a connection to either', () => leaving.peers.length + rig.backend.peers.length === 2);
    rig.snapshots.set(...viewsOf([endpointAt(rig.backend.port)]));
    if (leaving.peers.length > 0) await other.closed();
    else await new Promise((resolve) => setTimeout(resolve, 400));
    await server.write('still here');
    await client.hasReceived(10);
    leaving.close();
  }));

onEachEngine('a service that is exported no more is refused, and its connections are drained', (engine) =>
  withRig(engine, { over: { limits: { departedMs: 50 } } }, async (rig) => {
    const { client } = await rig.open();
    rig.snapshots.set(...viewsOf([endpointAt(rig.backend.port)]).map((view) => ({ ...view, exported: false })));
    assert.equal(await client.closed(), 'ECONNRESET');
    const late = await rig.connect();
    await late.write(HELLO);
    await late.hasReceived(7);
    late.socket.end();
    await late.closed();
    await rig.closesWith('isthmus_gateway_refused_total{reason="not-exported"} 1', endLine('drained'));
  }));

onEachEngine('closing lets connections finish, takes no new ones, and resets what is left', (engine) =>
  withRig(engine, {}, async (rig) => {
    const finishing = await rig.open();
    const staying = await rig.open();
    const unfinished = await rig.connect();
    await unfinished.write(HELLO.subarray(0, 50));
    await until('all three', () => rig.relay.connections === 3);
    const closing = rig.relay.close({ drainMs: 1_500 });
    while ((await connecting(rig.relay.port)) !== 'ECONNREFUSED'); // what had been taken before is served
    await finishing.server.write('last words');
    await finishing.client.hasReceived(10);
    finishing.client.socket.end();
    finishing.server.socket.end();
    await unfinished.write(HELLO.subarray(50));
    await (await rig.backend.peer(2)).hasReceived(HELLO.length);
    await closing;
    assert.equal(await staying.client.closed(), 'ECONNRESET');
    assert.equal(rig.relay.connections, 0);
    await rig.closesWith(endLine('complete'), endLine('drained', 2));
  }));

onEachEngine('closing twice is closing once, and ends early when nothing is open', (engine) =>
  withRig(engine, {}, async (rig) => {
    const { client, server } = await rig.open();
    const closing = rig.relay.close({ drainMs: 600_000 });
    client.socket.end();
    server.socket.end();
    await Promise.all([closing, rig.relay.close()]);
  }));
