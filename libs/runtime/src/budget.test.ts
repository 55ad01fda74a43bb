import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { RetryBudget } from './budget.ts';

function aBudget(over: { ratio?: number; minPerSecond?: number; windowMs?: number } = {}) {
  const clock = { ms: 0, monotonicMs: () => clock.ms };
  return { clock, budget: new RetryBudget({ ratio: 0.2, minPerSecond: 0, windowMs: 10_000, clock, ...over }) };
}

function withdrawAll(budget: RetryBudget): number {
  let count = 0;
  while (count < 10_000 && budget.withdraw()) count++;
  return count;
}

test('a fifth of the requests may be retried, and no more', () => {
  const { budget } = aBudget();
  assert.equal(budget.withdraw(), false);
  for (let i = 0; i < 100; i++) budget.deposit();
  assert.equal(withdrawAll(budget), 20);
});

test('a few retries are allowed without any requests', () => {
  const { budget } = aBudget({ minPerSecond: 3 });
  assert.equal(withdrawAll(budget), 30);
});

test('requests and retries are forgotten once the window has passed', () => {
  const { budget, clock } = aBudget();
  for (let i = 0; i < 100; i++) budget.deposit();
  assert.equal(withdrawAll(budget), 20);
  clock.ms = 5_000;
  assert.equal(budget.withdraw(), false);
  clock.ms = 10_001;
  assert.equal(budget.withdraw(), false, 'the requests are forgotten too');
  for (let i = 0; i < 10; i++) budget.deposit();
  assert.equal(withdrawAll(budget), 2);
});

test('whatever comes in whatever order, retries in a window never exceed the budget of its requests', () => {
  const step = fc.record({ kind: fc.constantFrom('deposit', 'withdraw', 'wait'), ms: fc.integer({ min: 0, max: 3_000 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const { budget, clock } = aBudget({ ratio: 0.2, minPerSecond: 1, windowMs: 10_000 });
      const requests: number[] = [];
      const retries: number[] = [];
      for (const { kind, ms } of steps) {
        if (kind === 'wait') clock.ms += ms;
        else if (kind === 'deposit') {
          budget.deposit();
          requests.push(clock.ms);
        } else if (budget.withdraw()) {
          retries.push(clock.ms);
          // What a slice of a tenth of the window forgets early or late is the tolerance.
          const recentRetries = retries.filter((at) => at > clock.ms - 9_000).length;
          const recentRequests = requests.filter((at) => at > clock.ms - 10_000).length;
          assert.ok(recentRetries <= recentRequests * 0.2 + 10, `${recentRetries} retries for ${recentRequests} requests`);
        }
      }
    }),
    { numRuns: 200 },
  );
});
