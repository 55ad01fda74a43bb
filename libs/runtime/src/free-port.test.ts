import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { freePort, freePorts } from './free-port.ts';

test('ports are free, all different, and none that the system gives to others', async () => {
  const ports = await freePorts(50);
  assert.equal(new Set([...ports, await freePort()]).size, 51);
  const [lowestGiven] = process.platform === 'linux' ? readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split('\t') : ['32768'];
  assert.ok(Math.max(...ports) < Number(lowestGiven));
  const servers = ports.map((port) => createServer().listen(port, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  for (const server of servers) server.close();
});
