import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { Loop } from '../../transport/linux/loop.ts';
import { type Pipe, PipePool } from './pipe-pool.ts';

const descriptors = (): number => readdirSync('/proc/self/fd').length;

function withPool(use: (pool: PipePool) => void): void {
  const loop = new Loop((error) => assert.fail(String(error)));
  const pool = new PipePool(loop);
  const before = descriptors();
  try {
    use(pool);
    pool.close();
    assert.equal(descriptors(), before, 'closing leaves nothing open');
  } finally {
    loop.close();
  }
}

function taken(pool: PipePool): Pipe {
  const pipe = pool.take();
  assert.ok(pipe !== undefined);
  return pipe;
}

test('a pipe given back is taken again, one that was discarded never', () =>
  withPool((pool) => {
    const pipe = taken(pool);
    pool.giveBack(pipe);
    assert.equal(taken(pool), pipe);
    pool.discard(pipe);
    const other = taken(pool);
    assert.notEqual(other, pipe);
    pool.giveBack(other);
  }));

test('no two have the same pipe', () =>
  withPool((pool) => {
    const pipes = Array.from({ length: 5 }, () => taken(pool));
    assert.equal(new Set(pipes.flatMap(({ readFd, writeFd }) => [readFd, writeFd])).size, 10);
    for (const pipe of pipes) pool.giveBack(pipe);
  }));

test('after a burst only a few idle pipes are kept', () =>
  withPool((pool) => {
    const before = descriptors();
    const pipes = Array.from({ length: 100 }, () => taken(pool));
    assert.equal(descriptors(), before + 200);
    for (const pipe of pipes) pool.giveBack(pipe);
    assert.ok(descriptors() <= before + 32, `${descriptors() - before} descriptors are kept`);
  }));
