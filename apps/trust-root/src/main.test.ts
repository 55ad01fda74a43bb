import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, afterEach, before, test } from 'node:test';
import { type Authority, type LogRecord, type LogVerdict, openAuthority, verifyLog } from '@isthmus/identity';
import { until } from '@isthmus/identity/testing';
import { spiffeIds, type TrustDomain } from '@isthmus/model';
import { generateKey } from '@isthmus/pki';
import { call, openChannel, trust } from '@isthmus/rpc';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';

const MAIN = new URL('./main.ts', import.meta.url).pathname;
const FEDERATION = 'acme.example' as TrustDomain;
const softHsm = ['/usr/lib/softhsm/libsofthsm2.so', '/usr/lib64/pkcs11/libsofthsm2.so'].find((path) => existsSync(path));
let dir: string;
const children = new Set<ChildProcess>();

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'isthmus-trust-root-'));
});
after(async () => {
  for (const child of children) child.kill('SIGKILL');
  await rm(dir, { recursive: true, force: true });
});

const opened = new Set<Authority>();
afterEach(async () => {
  await Promise.all([...opened].map((authority) => authority.close()));
  opened.clear();
});
/** An authority that is closed with its test. */
async function joinCluster(options: Parameters<typeof openAuthority>[0]): Promise<Authority> {
  const authority = await openAuthority(options);
  opened.add(authority);
  return authority;
}

type Running = { readonly child: ChildProcess; readonly port: number; readonly rootSha256: string; readonly stateDir: string };

async function writeConfig(name: string, text: string): Promise<string> {
  const path = join(dir, `${name}.yaml`);
  await writeFile(path, text);
  return path;
}

function run(config: string): ChildProcess {
  const child = spawn(process.execPath, [MAIN, '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

/** Starts it and waits for its `ready` line. */
async function start(name: string, port = 0, text?: string): Promise<Running> {
  const stateDir = join(dir, name);
  const child = run(await writeConfig(name, text ?? `federation: ${FEDERATION}\nstateDir: ${stateDir}\nlisten: { port: ${port} }\n`));
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  for await (const line of lines) {
    const entry = JSON.parse(line) as { msg?: string; message?: string; port?: number; rootSha256?: string };
    if ((entry.msg ?? entry.message) !== 'ready') continue;
    child.stdout?.resume();
    return { child, port: entry.port ?? 0, rootSha256: entry.rootSha256 ?? '', stateDir };
  }
  throw new Error(`it ended before it was ready: ${errors}`);
}

async function outcome(child: ChildProcess): Promise<{ readonly code: number | null; readonly stderr: string }> {
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  child.stdout?.resume();
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stderr };
}

async function kill(running: Running): Promise<void> {
  const gone = once(running.child, 'exit');
  running.child.kill('SIGKILL');
  await gone;
}

async function withAdmin<T>(running: Running, use: (client: trust.TrustRootAdminClient) => Promise<T>): Promise<T> {
  const channel = openChannel({ address: `unix:${join(running.stateDir, 'admin.sock')}`, log: silentLog() });
  try {
    return await use(channel.client(trust.TrustRootAdminClient));
  } finally {
    channel.close();
  }
}
const createToken = (running: Running, cluster: string): Promise<string> =>
  withAdmin(running, async (client) => {
    const request = { cluster, ttlSeconds: 0, replace: false };
    return (await call<trust.CreateClusterTokenRequest, trust.CreateClusterTokenResponse>(client.createClusterToken.bind(client), request, { timeoutMs: 5_000 })).token;
  });
const members = (running: Running): Promise<string[]> =>
  withAdmin(running, async (client) => {
    const view = await call<trust.GetFederationRequest, trust.FederationView>(client.getFederation.bind(client), {}, { timeoutMs: 5_000 });
    return view.members.map((m) => m.cluster);
  });

function authorityOptions(running: Running, cluster: string, token: string | undefined, name = cluster) {
  return {
    stateDir: join(dir, `cluster-${name}`),
    cluster,
    federation: FEDERATION,
    trustRoot: { address: `127.0.0.1:${running.port}` },
    token,
    self: { locality: '', gateways: [] },
    clock: systemClock,
    random: systemRandom,
    log: silentLog(),
    joinTimeoutMs: 0,
  };
}
/** The transparency log as it is on disk, and the serial numbers in it. */
async function logOf(running: Running): Promise<{ readonly verdict: LogVerdict; readonly records: readonly LogRecord[]; readonly serials: ReadonlySet<unknown> }> {
  const records: LogRecord[] = [];
  const file = await open(join(running.stateDir, 'transparency.log'), 'r');
  const verdict = await verifyLog(file, { onRecord: (record) => records.push(record) }).finally(() => file.close());
  return { verdict, records, serials: new Set(records.filter((record) => record.kind === 'intermediate-signed').map((record) => record.facts['serial'])) };
}
const refused = (error: Error & { code?: string }) => (assert.equal(error.code, 'IDENTITY_TOKEN_REFUSED', error.message), true);

test('kill -9 between issues loses nothing: same root, spent token stays spent, unspent one works, members and journal are there', async () => {
  let running = await start('killed');
  const { rootSha256, port } = running;
  const [spent, unspent] = [await createToken(running, 'east'), await createToken(running, 'west')];
  const east = await joinCluster(authorityOptions(running, 'east', spent));
  await kill(running);
  east.sign({ publicKey: createPublicKey(generateKey()), spiffeId: spiffeIds.gateway(east.trustDomain) });

  running = await start('killed', port);
  assert.equal(running.rootSha256, rootSha256);
  assert.deepEqual(await members(running), ['east']);
  await assert.rejects(joinCluster(authorityOptions(running, 'east', spent, 'replay')), refused);
  const west = await joinCluster(authorityOptions(running, 'west', unspent));
  const intermediates = [east, west].map((a) => a.svids.current()?.chain[1]);
  await kill(running);
  const journal = await readFile(join(running.stateDir, 'trust-root.state'), 'utf8');
  for (const der of intermediates) assert.ok(der && journal.includes(new X509Certificate(der).serialNumber));

  running = await start('killed', port);
  await until(() => east.status().trustRootReachable && west.status().trustRootReachable, 'both hear it again');
  await east.renewNow();
  assert.equal(east.status().lastError, undefined);
  await kill(running);
});

test('kill -9 in the midst of issuing: whatever was handed out is in the journal, and its cluster is a member', async () => {
  let running = await start('midst');
  const names = Array.from({ length: 12 }, (_, i) => `c${i}`);
  const tokens = await Promise.all(names.map((name) => createToken(running, name)));
  const joins = names.map((name, i) => joinCluster(authorityOptions(running, name, tokens[i], `midst-${name}`)));
  const settled = Promise.allSettled(joins);
  await Promise.any(joins);
  await kill(running);
  const results = await settled;
  const joined = results.flatMap((r) => (r.status === 'fulfilled' ? [r.value] : []));
  assert.ok(joined.length > 0);
  const torn = await logOf(running);
  running = await start('midst', running.port);
  const log = await logOf(running);
  assert.ok(torn.verdict.ok && log.verdict.ok && !log.verdict.hasTornEnd, 'the log holds, and a torn end is gone after the start');
  for (const authority of joined) {
    const der = authority.svids.current()?.chain[1];
    assert.ok(der && log.serials.has(new X509Certificate(der).serialNumber), 'what was handed out is in the log');
  }
  const told = log.records.filter((record) => record.kind === 'intermediate-signed').length;
  assert.equal(log.serials.size, told, 'no serial number stands twice');
  const [journal, kept] = [await readFile(join(running.stateDir, 'trust-root.state'), 'utf8'), await members(running)];
  for (const authority of joined) {
    const der = authority.svids.current()?.chain[1];
    assert.ok(der && journal.includes(new X509Certificate(der).serialNumber), authority.cluster);
    assert.ok(kept.includes(authority.cluster));
  }
  await kill(running);
});

test('it stops on SIGTERM with 0', async () => {
  const running = await start('polite');
  const gone = once(running.child, 'exit');
  running.child.kill('SIGTERM');
  assert.deepEqual(await gone, [0, null]);
});

test('a state file cut short stops the start, names the file and leaves it', async () => {
  const running = await start('cut');
  await kill(running);
  const path = join(running.stateDir, 'trust-root.state');
  await truncate(path, 40);
  const { code, stderr } = await outcome(run(join(dir, 'cut.yaml')));
  assert.notEqual(code, 0);
  assert.match(stderr, /trust-root\.state/);
  assert.equal((await readFile(path)).length, 40);
});

test('a key under a passphrase is no use without it, and the start says which file and which setting', async () => {
  const secret = join(dir, 'passphrase');
  await writeFile(secret, 'a passphrase of some length\n', { mode: 0o600 });
  const plain = await start('locked');
  await kill(plain);
  const text = await readFile(join(dir, 'locked.yaml'), 'utf8');
  const sealed = run(await writeConfig('locked', `${text}keyPassphraseFile: ${secret}\n`));
  await until(async () => !(await readFile(join(plain.stateDir, 'root.key'), 'latin1')).includes('PRIVATE KEY'), 'the plain key is put under the passphrase', 30_000);
  const gone = once(sealed, 'exit');
  sealed.kill('SIGKILL');
  await gone;
  await writeConfig('locked', text);
  const { code, stderr } = await outcome(run(join(dir, 'locked.yaml')));
  assert.notEqual(code, 0);
  assert.match(stderr, /root\.key is under a passphrase.*/);
  assert.match(stderr, /keyPassphraseFile/);
});

test('a root in a token: made there and signing after kill -9; a wrong PIN stops the start once, is in no output, and makes nothing', { skip: softHsm === undefined ? 'softhsm2 is not installed' : false, timeout: 120_000 }, async () => {
  const [conf, tokens, pinFile, stateDir] = ['softhsm2.conf', 'tokens', 'pin', 'token'].map((name) => join(dir, name)) as [string, string, string, string];
  await mkdir(tokens, { mode: 0o700 });
  await writeFile(conf, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  await writeFile(pinFile, 'hush-4711\n', { mode: 0o600 });
  process.env['SOFTHSM2_CONF'] = conf;
  assert.equal((await outcome(spawn('softhsm2-util', ['--init-token', '--free', '--label', 'isthmus', '--so-pin', '87654321', '--pin', 'hush-4711']))).code, 0);
  const text = `federation: ${FEDERATION}\nstateDir: ${stateDir}\nlisten: { port: 0 }\nkeys: { pkcs11: { module: ${softHsm}, token: isthmus, pinFile: ${pinFile} } }\n`;
  let running = await start('token', 0, text);
  await joinCluster(authorityOptions(running, 'east', await createToken(running, 'east'), 'token-east'));
  await kill(running);
  await writeFile(pinFile, 'hush-0000\n', { mode: 0o600 });
  const wrong = run(await writeConfig('token', text));
  let shown = '';
  for (const stream of [wrong.stdout, wrong.stderr]) stream?.on('data', (chunk: Buffer) => (shown += chunk.toString()));
  const { code, stderr } = await outcome(wrong);
  assert.notEqual(code, 0);
  assert.match(stderr, /the token "isthmus" is closed/);
  assert.match(stderr, /pinFile/);
  assert.doesNotMatch(shown + stderr, /hush/);
  await writeFile(pinFile, 'hush-4711\n', { mode: 0o600 });
  const { rootSha256 } = running;
  running = await start('token', 0, text);
  assert.equal(running.rootSha256, rootSha256, 'the same root, signed for by the same key');
  await kill(running);
  assert.deepEqual((await readdir(stateDir)).filter((name) => name.endsWith('.key')), []);
});

test('a log that was cut, or put back from an earlier copy, stops the start and is left as it is', async () => {
  let running = await start('log-cut');
  await joinCluster(authorityOptions(running, 'east', await createToken(running, 'east'), 'log-cut'));
  const path = join(running.stateDir, 'transparency.log');
  const early = await readFile(path);
  await joinCluster(authorityOptions(running, 'west', await createToken(running, 'west'), 'log-cut-west'));
  await kill(running);
  const whole = await readFile(path);
  await writeFile(path, early);
  const older = await outcome(run(join(dir, 'log-cut.yaml')));
  assert.notEqual(older.code, 0);
  assert.match(older.stderr, /transparency\.log has \d+ records, the state knows of \d+: it was cut/);
  assert.deepEqual(await readFile(path), early);
  await rm(path);
  assert.match((await outcome(run(join(dir, 'log-cut.yaml')))).stderr, /transparency\.log is missing/);
  await writeFile(path, whole.toString().replace('west', 'best'), { mode: 0o600 });
  assert.match((await outcome(run(join(dir, 'log-cut.yaml')))).stderr, /transparency\.log, line \d+: its hash is not that of what it says/);
  await writeFile(path, whole, { mode: 0o600 });
  running = await start('log-cut');
  await kill(running);
});

test('a wrong configuration is refused with every problem before anything is made', async () => {
  const { code, stderr } = await outcome(run(await writeConfig('wrong', `federation: UPPER\nstateDir: ${join(dir, 'wrong')}\nlistn: {}\n`)));
  assert.notEqual(code, 0);
  assert.match(stderr, /federation/);
  assert.match(stderr, /listn/);
  await assert.rejects(readFile(join(dir, 'wrong', 'root.key')));
});

test('an intermediate’s life that is no duration or out of bounds is refused by its name', async () => {
  for (const life of ['soon', '1s', '100d']) {
    const text = `federation: ${FEDERATION}\nstateDir: ${join(dir, 'life')}\nlisten: { port: 0 }\nintermediateTtl: ${life}\n`;
    const { code, stderr } = await outcome(run(await writeConfig('life', text)));
    assert.notEqual(code, 0, life);
    assert.match(stderr, /intermediateTtl/);
  }
});

test('a full disk refuses to issue with a clear error, and the old state stands', async (t) => {
  const stateDir = join(dir, 'tiny');
  await mkdir(stateDir);
  const mounted = await outcome(spawn('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'tmpfs', stateDir])).catch(() => ({ code: 1 }));
  if (mounted.code !== 0) return t.skip('mounting a small file system needs root');
  try {
    const running = await start('tiny');
    const token = await createToken(running, 'east');
    const before = await readFile(join(stateDir, 'trust-root.state'), 'utf8');
    await writeFile(join(stateDir, 'filler'), Buffer.alloc(1 << 20)).catch(() => undefined);
    await assert.rejects(joinCluster(authorityOptions(running, 'east', token, 'full')), (error: Error & { code?: string }) => {
      assert.match(error.code ?? '', /^(?:STATE_DISK_FULL|IDENTITY_LOG_UNWRITABLE)$/, error.message);
      assert.match(error.message, /disk is full/);
      return true;
    });
    assert.equal(await readFile(join(stateDir, 'trust-root.state'), 'utf8'), before);
    await rm(join(stateDir, 'filler'));
    await joinCluster(authorityOptions(running, 'east', token));
    await kill(running);
  } finally {
    await outcome(spawn('umount', ['-l', stateDir]));
  }
});
