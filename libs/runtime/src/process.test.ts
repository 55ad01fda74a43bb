import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'node:test';

/** Runs a program around `runProcess`; `body` is the source of `start`. */
function run(body: string): { readonly child: ChildProcess; readonly said: (text: string) => Promise<void>; readonly ended: Promise<{ code: number | null; signal: string | null; output: string }> } {
  const source = `
    import { runProcess, portBusy } from ${JSON.stringify(new URL('./process.ts', import.meta.url).href)};
    import { openLog } from ${JSON.stringify(import.meta.resolve('@isthmus/telemetry'))};
    import { IsthmusError } from ${JSON.stringify(import.meta.resolve('@isthmus/model'))};
    import { createServer } from 'node:net';
    const log = openLog({ program: 'p', level: 'info', format: 'json' });
    const part = (name, stop = async () => {}) => ({ name, stop: async () => { await stop(); console.log('stopped ' + name); } });
    await runProcess({ program: 'p', log, start: async (own, signal) => { ${body} } });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const waiting: { readonly text: string; readonly resolve: () => void }[] = [];
  const onData = (chunk: Buffer): void => {
    output += chunk.toString();
    for (const wait of waiting) if (output.includes(wait.text)) wait.resolve();
  };
  child.stdout.on('data', onData);
  child.stderr.on('data', onData);
  const ended = once(child, 'close').then(([code, signal]) => ({ code: code as number | null, signal: signal as string | null, output }));
  const said = (text: string): Promise<void> =>
    output.includes(text) ? Promise.resolve() : Promise.race([new Promise<void>((resolve) => waiting.push({ text, resolve })), ended.then(({ output: all }) => assert.ok(all.includes(text), `ended without saying ${text}:\n${all}`))]);
  return { child, said, ended };
}

/** Keeps a process alive, as a listener does. */
const LISTEN = `const server = createServer().listen(0); own(part('server', () => server.close()));`;

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} stops the parts in reverse and ends with 0`, async () => {
    const { child, said, ended } = run(`own(part('first')); ${LISTEN} own(part('last')); console.log('up');`);
    await said('up');
    child.kill(signal);
    const { code, output } = await ended;
    assert.equal(code, 0, output);
    assert.deepEqual(output.match(/stopped \w+/g), ['stopped last', 'stopped server', 'stopped first']);
  });
}

test('a part that fails to stop does not keep the others from stopping', async () => {
  const { child, said, ended } = run(`${LISTEN} own(part('bad', () => { throw new Error('stuck'); })); console.log('up');`);
  await said('up');
  child.kill('SIGTERM');
  const { code, output } = await ended;
  assert.equal(code, 0);
  assert.match(output, /part failed to stop.*"part":"bad".*stuck/);
  assert.match(output, /stopped server/);
});

test('a second signal ends a process that hangs in stopping, at once', async () => {
  const { child, said, ended } = run(`${LISTEN} own(part('slow', () => { console.log('stopping slowly'); return new Promise(() => {}); })); console.log('up');`);
  await said('up');
  child.kill('SIGTERM');
  await said('stopping slowly');
  child.kill('SIGTERM');
  assert.equal((await ended).code, 143);
});

test('a signal while starting aborts the start and stops what had started, also what comes up late', async () => {
  const { child, said, ended } = run(`
    own(part('first'));
    const keep = setInterval(() => {}, 1_000);
    console.log('starting');
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    clearInterval(keep);
    own(part('late'));`);
  await said('starting');
  child.kill('SIGTERM');
  const { code, output } = await ended;
  assert.equal(code, 0);
  assert.match(output, /stopped first/);
  assert.match(output, /stopped late/);
});

test('a failure to start stops what had started, says what to do, and exits with the code of its class', async () => {
  const { ended } = run(`own(part('first')); throw new IsthmusError('X_AWAY', 'unavailable', 'the store is away', { hint: 'start it' });`);
  const { code, output } = await ended;
  assert.equal(code, 69);
  assert.match(output, /stopped first/);
  assert.match(output, /p: the store is away\n  hint: start it\n/);
  assert.match(output, /"msg":"could not start".*"code":"X_AWAY"/);
});

test('a port that is taken is named, with exit code 73', async () => {
  const { ended } = run(`
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port } = taken.address();
    console.log('taken ' + port);
    await new Promise((_, reject) => createServer().once('error', (e) => reject(portBusy(e, '127.0.0.1', port))).listen(port, '127.0.0.1'));`);
  const { code, output } = await ended;
  assert.equal(code, 73);
  const port = /taken (\d+)/.exec(output)?.[1];
  assert.match(output, new RegExp(`p: port ${port} on 127.0.0.1 is taken by another program`));
});

for (const [name, crash] of [
  ['an uncaught exception', `setImmediate(() => { throw new Error('boom'); });`],
  ['an unhandled rejection', `setImmediate(() => { Promise.reject(new Error('boom')); });`],
] as const) {
  test(`${name} is logged with its stack, the parts are stopped, and the exit code is 70`, async () => {
    const { ended } = run(`${LISTEN} ${crash}`);
    const { code, output } = await ended;
    assert.equal(code, 70);
    assert.match(output, /"msg":"uncaught error","error":"boom","stack":"Error: boom/);
    assert.match(output, /stopped server/);
  });
}

test('an error while stopping after a signal still shows in the exit code', async () => {
  const { child, said, ended } = run(`${LISTEN} own(part('bad', () => { setImmediate(() => { throw new Error('boom'); }); return new Promise((r) => setTimeout(r, 20)); })); console.log('up');`);
  await said('up');
  child.kill('SIGTERM');
  assert.equal((await ended).code, 70);
});
