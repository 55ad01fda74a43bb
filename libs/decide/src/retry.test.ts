import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayRetry, type RetryQuestion, type RetryVerdict } from './retry.ts';

function ask(over: Partial<RetryQuestion> = {}): RetryVerdict {
  return mayRetry({ method: 'GET', sent: 'some', isAnswered: false, isReplayable: true, attempt: 1, attempts: 3, withdraw: () => true, ...over });
}

for (const [name, over, verdict] of [
  ['nothing was sent: any method', { method: 'POST', sent: 'nothing' }, 'yes'],
  ['the endpoint says it did not process it: any method', { method: 'POST', sent: 'unprocessed' }, 'yes'],
  ['nothing was sent: the budget is not asked', { sent: 'nothing', withdraw: () => false }, 'yes'],
  ['something was sent: idempotent methods', {}, 'yes'],
  ['something was sent: POST never', { method: 'POST' }, 'not-idempotent'],
  ['something was sent: PATCH never', { method: 'PATCH' }, 'not-idempotent'],
  ['methods are case-sensitive: get is not GET', { method: 'get' }, 'not-idempotent'],
  ['the budget is spent', { withdraw: () => false }, 'budget-spent'],
  ['an answer that has begun is never made twice', { isAnswered: true, sent: 'nothing' }, 'answered'],
  ['a body that cannot be sent again', { isReplayable: false, sent: 'unprocessed' }, 'not-replayable'],
  ['attempts are spent', { attempt: 3, sent: 'nothing' }, 'attempts-spent'],
] as const) {
  test(`${name}: ${verdict}`, () => assert.equal(ask(over), verdict));
}

for (const method of ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']) {
  test(`${method} is idempotent (RFC 9110 §9.2.2)`, () => assert.equal(ask({ method }), 'yes'));
}

test('a refusal for any other reason takes nothing out of the budget', () => {
  let withdrawn = 0;
  const withdraw = (): boolean => (withdrawn += 1) > 0;
  for (const over of [{ method: 'POST' }, { isAnswered: true }, { isReplayable: false }, { attempt: 3 }, { sent: 'nothing' }] as const) ask({ ...over, withdraw });
  assert.equal(withdrawn, 0);
});
