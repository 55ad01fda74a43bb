import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openPeerCredentials } from './peer-credentials.ts';

const skip = process.platform === 'linux' ? false : 'peer credentials are read on Linux only';
const directory = mkdtempSync(join(tmpdir(), 'isthmus-peer-'));
const children = new Set<ChildProcess>();
const servers = new Set<Server>();
after(() => {
  for (const child of children) child.kill('SIGKILL');
  for (const server of servers) server.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Connects with the program and hands on the accepted socket while that program lives. */
async function acceptFrom(program: string, args: readonly string[], options: { readonly uid?: number; readonly gid?: number } = {}): Promise<{ readonly socket: Socket; readonly child: ChildProcess; close(): Promise<void> }> {
  const path = join(directory, `s${Math.trunc(performance.now() * 1_000)}.sock`);
  const server = createServer();
  server.listen(path);
  await once(server, 'listening');
  chmodSync(path, 0o666);
  chmodSync(directory, 0o755);
  const child = spawn(program, [...args, path], { stdio: 'ignore', ...options });
  children.add(child);
  servers.add(server);
  const [socket] = (await once(server, 'connection')) as [Socket];
  socket.on('error', () => undefined);
  return {
    socket,
    child,
    async close() {
      child.kill('SIGKILL');
      socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
const CONNECT = ['-e', 'require("net").connect(process.argv[1]); setInterval(() => {}, 1000)'];

test('a peer is known by its process, its user and its program', { skip }, async () => {
  const readPeer = await openPeerCredentials();
  const accepted = await acceptFrom(process.execPath, CONNECT);
  assert.deepEqual(await readPeer(accepted.socket), { pid: accepted.child.pid, uid: process.getuid?.(), gid: process.getgid?.(), path: realpathSync(process.execPath) });
  await accepted.close();
});

test('a peer of another user is known by that user', { skip: skip || (process.getuid?.() === 0 ? false : 'only root becomes another user') }, async () => {
  const readPeer = await openPeerCredentials();
  const python = '/usr/bin/python3';
  const accepted = await acceptFrom(python, ['-c', 'import socket,sys,time; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); time.sleep(60)'], { uid: 1234, gid: 2345 });
  const peer = await readPeer(accepted.socket);
  assert.deepEqual([peer.uid, peer.gid, peer.path], [1234, 2345, realpathSync(python)]);
  await accepted.close();
});

test('a program whose file was replaced while it runs has no path', { skip }, async () => {
  const readPeer = await openPeerCredentials();
  const program = join(directory, 'workload');
  copyFileSync(realpathSync(process.execPath), program);
  const accepted = await acceptFrom(program, CONNECT);
  assert.equal((await readPeer(accepted.socket)).path, realpathSync(program));
  rmSync(program);
  assert.equal((await readPeer(accepted.socket)).path, undefined);
  copyFileSync(realpathSync(process.execPath), program);
  assert.equal((await readPeer(accepted.socket)).path, undefined);
  await accepted.close();
});

test('a process in a mount namespace of its own cannot show another program’s path', { skip: skip || (process.getuid?.() === 0 ? false : 'only root makes a mount namespace here') }, async () => {
  const readPeer = await openPeerCredentials();
  const trusted = join(directory, 'trusted');
  const own = join(directory, 'own');
  copyFileSync('/bin/false', trusted);
  copyFileSync(realpathSync(process.execPath), own);
  const script = 'mount --bind "$1" "$2" && exec "$2" -e "$3" "$4"';
  const accepted = await acceptFrom('unshare', ['-m', 'sh', '-c', script, 'sh', own, trusted, CONNECT[1] ?? '']);
  assert.equal((await readPeer(accepted.socket)).path, undefined);
  await accepted.close();
});

test('a peer that has ended has no path, whoever has its pid', { skip }, async () => {
  const readPeer = await openPeerCredentials();
  const accepted = await acceptFrom(process.execPath, CONNECT);
  const ended = once(accepted.child, 'exit');
  accepted.child.kill('SIGKILL');
  await ended;
  const peer = await readPeer(accepted.socket).catch((error: Error & { code?: string }) => error);
  if (peer instanceof Error) assert.equal(peer.code, 'PEER_CREDENTIALS');
  else assert.equal(peer.path, undefined);
  await accepted.close();
});

test('a connection that is gone has no peer', { skip }, async () => {
  const readPeer = await openPeerCredentials();
  const socket = connect(join(directory, 'nobody.sock'));
  socket.on('error', () => undefined);
  socket.destroy();
  await assert.rejects(readPeer(socket), { code: 'PEER_CREDENTIALS' });
});
