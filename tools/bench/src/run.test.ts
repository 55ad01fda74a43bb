import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runWorkload, turned } from './run.ts';
import type { Running } from './system/running.ts';
import { type ContenderName, NotSupported, type Sample, type Setting, type Workload } from './workloads/workload.ts';

type Log = string[];

/** A proxy that is none: what was done with it is written down. */
const proxy = (name: string, log: Log): Running => ({ pid: 0, port: 0, about: `about ${name}`, cpuMs: () => 0, residentBytes: () => 0, stop: async () => void log.push(`stop ${name}`) });

function workload(log: Log, over: Partial<Setting>): Workload {
  let samples = 0;
  return {
    name: 'w',
    summary: '',
    metrics: [{ name: 'm', unit: '', better: 'lower', isAdded: true }],
    needs: [],
    open: async () => ({
      start: async (name) => {
        log.push(`start ${name}`);
        return [proxy(name, log)];
      },
      sample: async (proxies): Promise<Sample> => {
        log.push((proxies[0]?.about ?? '').replace('about', 'sample'));
        return { m: (samples += 1) };
      },
      stop: async () => void log.push('stop setting'),
      ...over,
    }),
  };
}

const run = (log: Log, over: Partial<Setting> = {}, more: { rounds?: number; contenders?: readonly ContenderName[]; needs?: Workload['needs']; isQuick?: boolean } = {}) =>
  runWorkload({
    workload: { ...workload(log, over), ...(more.needs && { needs: more.needs }) },
    bench: { programs: new Map(), scratch: '', isQuick: more.isQuick ?? false, engine: undefined },
    contenders: more.contenders ?? ['isthmus', 'nginx'],
    rounds: more.rounds ?? 2,
    onProgress: () => undefined,
  });

test('contenders take turns, another first each round; the first two rounds do not count; all is stopped', async () => {
  const log: Log = [];
  const { samples, notes } = await run(log);
  assert.deepEqual(log, [
    'start isthmus', 'start nginx',
    'sample nginx', 'sample isthmus',
    'sample isthmus', 'sample nginx',
    'sample nginx', 'sample isthmus',
    'sample isthmus', 'sample nginx',
    'stop isthmus', 'stop nginx', 'stop setting',
  ]);
  assert.deepEqual(samples.get('isthmus'), [{ m: 6 }, { m: 7 }]);
  assert.deepEqual(notes, ['isthmus: about isthmus', 'nginx: about nginx']);
});

test('where memory is measured, each sample has a process of its own', async () => {
  const log: Log = [];
  await run(log, { needsNewProcess: true }, { rounds: 1, contenders: ['nginx'] });
  assert.deepEqual(log, ['start nginx', 'sample nginx', 'stop nginx', 'stop setting']);
});

test('the median of what is measured without a proxy is taken away, warm-up left out', async () => {
  let direct = 0;
  const { samples } = await run([], { direct: async () => ({ m: (direct += 10) }), sample: async () => ({ m: 100 }) }, { contenders: ['isthmus'] });
  assert.deepEqual(samples.get('isthmus'), [{ m: 65 }, { m: 65 }]);
});

test('a contender without such a mode is named and is no error; one that fails is an error and the others go on', async () => {
  const log: Log = [];
  const { samples, absent, errors } = await run(log, {
    start: async (name) => {
      if (name === 'nginx') throw new NotSupported('has no such mode');
      return [proxy(name, log)];
    },
    sample: async (proxies) => {
      if (proxies[0]?.about === 'about haproxy') throw new Error('fell over');
      return { m: 1 };
    },
  }, { contenders: ['isthmus', 'nginx', 'haproxy'] });
  assert.equal(absent.get('nginx'), 'has no such mode');
  assert.match(absent.get('haproxy') ?? '', /fell over/);
  assert.deepEqual(errors.map((e) => e.split(':')[0]), ['w, haproxy']);
  assert.deepEqual([...samples.keys()], ['isthmus']);
  assert.deepEqual(log.filter((line) => line === 'stop haproxy'), ['stop haproxy'], 'stopped once');
});

test('a workload whose programs are missing starts nothing and says which', async () => {
  const log: Log = [];
  const { absent } = await run(log, {}, { needs: ['wrk'] });
  assert.equal(absent.get('isthmus'), 'the workload needs wrk');
  assert.deepEqual(log, []);
});

test('a list is turned by any number', () => {
  assert.deepEqual(turned([1, 2, 3], 4), [2, 3, 1]);
  assert.deepEqual(turned([], 3), []);
});
